"""What a server costs, as the kernel counts it: processor time and memory of a group of processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_QUIET = 0.3
"""Seconds without a tick after which somebody counts as idle."""

_PATIENCE = 60.0
"""Seconds after which somebody who never is counts as idle all the same."""

_GROUP, _TIMES = 2, slice(11, 13)
"""Places behind the name of the program in /proc/PID/stat (proc(5)): pgrp; utime and stime."""


def cpu_seconds(group: int) -> float:
    """Return the processor time that the living processes of a group have used."""
    return sum(int(ticks) for stat in _stats(group).values() for ticks in stat[_TIMES]) * _TICK


def quiet_since(group: int) -> float:
    """Wait until a group has been idle for a while, and return since when, by the monotonic clock."""
    busy, since = cpu_seconds(group), time.monotonic()
    began = since
    while time.monotonic() < min(since + _QUIET, began + _PATIENCE):
        time.sleep(0.02)
        if (now := cpu_seconds(group)) != busy:
            busy, since = now, time.monotonic()
    return since


def forget_peak(group: int) -> None:
    """Have the kernel begin anew to note the most memory that each process of a group holds."""
    for pid in _stats(group):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_memory(group: int) -> int:
    """Return the bytes of memory that the processes of a group have held at most, all together."""
    return sum(_peak(pid) for pid in _stats(group))


def processes(group: int) -> int:
    """Return how many processes of a group live."""
    return len(_stats(group))


def _peak(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _stats(group: int) -> dict[int, list[str]]:
    return {pid: stat for pid, stat in _all() if int(stat[_GROUP]) == group}


def _all() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has just ended
                yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()
