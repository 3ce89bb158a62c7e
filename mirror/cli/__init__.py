"""The commands. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mirror import __version__

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Configuration file. Default: config.yaml if there is one, else the built-in configuration.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mirror", message="%(prog)s %(version)s")
def commands() -> None:
    """A pull-through mirror for container registries."""


@commands.command()
@config_option
def serve(config_file: Path | None) -> None:
    """Run the mirror until it is told to stop (SIGTERM or SIGINT)."""
    from mirror.app import serve as run
    from mirror.config import load

    asyncio.run(run(load(config_file)))
