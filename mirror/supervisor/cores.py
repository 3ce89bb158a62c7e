"""How many workers `auto` means: one for each core that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# What a container may use of its machine, as cgroups of version 2 have it: microseconds in a period, or "max".


def worker_count(wanted: int | str) -> int:
    """Return how many processes serve; `wanted` is their number, or "auto"."""
    return wanted if isinstance(wanted, int) else cores(len(os.sched_getaffinity(0)), _quota())


def cores(allowed: int, quota: str) -> int:
    """Return how many of `allowed` cores may be busy at once under this quota; at least one."""
    match quota.split():
        case [time, period] if time.isdecimal() and period.isdecimal() and int(period) > 0:
            return max(1, min(allowed, -(-int(time) // int(period))))
        case _:
            return max(1, allowed)


def _quota() -> str:
    try:
        return _QUOTA.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
