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


def some_time(text: str, option: str, at_least: float = 0.0) -> float:
    """Return the seconds that an option says; raises BadParameter for what is no duration, or not enough."""
    from mirror.config.units import parse_duration

    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    if seconds <= 0 or seconds < at_least:
        raise click.BadParameter(f"at least {at_least:g}s" if at_least else "some time is needed", param_hint=option)
    return seconds
