"""How much a run moves and for how long: sizes that show what there is to see, and tiny ones that try the harness."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes in bytes, times in seconds."""

    name: str
    huge: int
    """The blob of the rows that speak of 1 GiB."""
    large: int
    """The layer of the rows that speak of 200 MiB."""
    medium: int
    """One of the eight layers of the rows that speak of 8 MiB."""
    small: int
    """How many blobs of 1 MiB are asked for in turn."""
    cached: int
    """How many files lie in the cache that a start has to cope with."""
    seconds: float
    """How long one shot at something warm lasts."""
    rounds: int
    """How often everything is measured, unless somebody says otherwise."""


FULL = Scale("full", GIB, 200 * MIB, 8 * MIB, 64, 100_000, 3.0, 3)
QUICK = Scale("quick", 16 * MIB, 4 * MIB, MIB, 8, 1_000, 0.3, 1)
