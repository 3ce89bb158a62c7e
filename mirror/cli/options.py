"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Configuration file. Default: config.yaml if there is one, else the built-in configuration.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print what there is as JSON.")
