"""Who runs where, in rows that ask what one core can do: the server on the first one, who asks on the others."""

from __future__ import annotations

import os


def server_core() -> list[str]:
    """Return what starts a command on the first core only."""
    return _pinned(_cores()[:1])


def other_cores() -> list[str]:
    """Return what starts a command on all cores but the first; where there is one only, nothing."""
    return _pinned(_cores()[1:])


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _pinned(cores: list[int]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
