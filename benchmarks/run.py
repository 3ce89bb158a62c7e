"""Measures rows: in each round every peer has its turn, so that what else the machine does meets all of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence

from benchmarks.clients.connection import UnexpectedAnswer
from benchmarks.commit import commit
from benchmarks.goal import Values
from benchmarks.peers import DIRECT, WARM
from benchmarks.result import Result
from benchmarks.rows import Row
from benchmarks.rows.row import Shot
from benchmarks.site import Site
from tests.e2e.process import ServiceError

_TROUBLE = (OSError, ServiceError, UnexpectedAnswer, subprocess.SubprocessError)


def installed(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which of these peers can be started here, and which cannot."""
    there = [name for name in names if name == DIRECT or WARM[name].is_installed()]
    return there, [name for name in names if name not in there]


def measure(row: Row, site: Site, peers: Sequence[str], rounds: int) -> Result:
    """Return what came of a row for those of its peers that are named here."""
    chosen = [name for name in row.peers if name in peers]
    result = Result(row, commit())
    try:
        with row.stage(site, chosen) as shot:
            result.rounds.extend(_round(shot, chosen, number, result) for number in range(rounds))
    except _TROUBLE as error:
        result.failures.append(_told(error))
    return result


def _round(shot: Shot, peers: Sequence[str], number: int, result: Result) -> dict[str, Values]:
    told: dict[str, Values] = {}
    for name in _turned(peers, number):
        try:
            told[name] = shot(name)
        except _TROUBLE as error:
            result.failures.append(f"{name}: {_told(error)}")
    return told


def _turned(peers: Sequence[str], number: int) -> Iterator[str]:
    """Return the peers, each round beginning with another one: nobody always comes after the same."""
    return (peers[(place + number) % len(peers)] for place in range(len(peers)))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
