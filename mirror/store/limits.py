"""How much the cache may hold, and what it leaves to others. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the cache may hold, and how much of the disk it leaves free; in bytes.

    `unused` is for how many seconds a file is kept without being used while a mirror runs, None for any time.
    """

    max_size: int
    min_free: int = 0
    unused: float | None = None

    def admits(self, size: int) -> bool:
        """Tell whether a file of this size is kept at all: no blob may cost more than half of what there is."""
        return size <= self.max_size // 2

    def guess(self, size: int, step: int) -> int:
        """Return what to reserve for a file that has `size` bytes and will have nobody knows how many."""
        return max(size, min(size + step, self.max_size // 2))
