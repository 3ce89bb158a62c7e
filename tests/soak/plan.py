"""What a soak is to be: a few numbers, which one line on the command line says again."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """`minutes` of traffic, trouble every `pause` seconds, a share `spoils` of upstream's answers spoiled.

    `stall` is for how many seconds upstream may stop within a body. With `disk`, the cache has a disk of its own of so
    many MiB, which is full now and then: for root only.
    """

    seed: int
    minutes: float = 10.0
    processes: int = 2
    clients: int = 8
    images: int = 60
    pause: float = 3.0
    spoils: float = 0.08
    stall: float = 20.0
    disk: int = 0

    @property
    def command(self) -> str:
        """The line that runs it again."""
        changed = {one.name: getattr(self, one.name) for one in fields(self)}
        told = " ".join(f"--{name} {value}" for name, value in changed.items() if value != _DEFAULTS.get(name))
        return f"python -m tests.soak {told}"

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Plan:
        return cls(**{one.name: getattr(options, one.name) for one in fields(cls)})


_DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(Plan) if one.name != "seed"}


def add_options(parser: argparse.ArgumentParser, seed: int) -> None:
    """Let the command line say every number of a plan; the seed is this one if it does not."""
    parser.add_argument("--seed", type=int, default=seed)
    for name, default in _DEFAULTS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
