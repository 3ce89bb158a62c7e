"""`mirror worker`: how a supervisor starts its workers; nobody else does."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(hidden=True)
@click.option("--config", "config_file", type=click.Path(path_type=Path), required=True)
@click.option("--number", type=int, required=True)
@click.option("--count", type=int, required=True)
@click.option("--listening", required=True, help="Descriptors of bound sockets.")
@click.option("--wire", type=int, required=True, help="The descriptor that leads to the supervisor.")
@click.option("--left", required=True, help="Descriptors of files: for its last page of metrics, and where it crashed.")
def worker(config_file: Path, *, number: int, count: int, listening: str, wire: int, left: str) -> None:
    """Serve as one of several, on sockets of the supervisor that started this."""
    from mirror.cli.loop import on_loop
    from mirror.errors import AddressUnavailable, ConfigError
    from mirror.supervisor.work import Inherited, work

    try:
        will, stack = _descriptors(left)
        on_loop(work(config_file, Inherited(number, count, _descriptors(listening), wire, will, stack)))
    except (ConfigError, AddressUnavailable) as error:
        # The supervisor has been told, and says it once for all.
        sys.exit(78 if isinstance(error, ConfigError) else 1)


def _descriptors(listed: str) -> tuple[int, ...]:
    return tuple(int(descriptor) for descriptor in listed.split(","))
