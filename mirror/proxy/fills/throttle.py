"""How many bytes a second are taken from an upstream: by all its fills together, in turn, a piece at a time.

A fill waits before it reads, never with what it has read: that is its readers' at once. What is not read yet waits in
the connection, and holds back whoever sends it.
"""

from __future__ import annotations

import asyncio
import math

BURST_SECONDS = 1.0
"""How much may be saved up while nothing is read: so many seconds' worth."""

ROUND = 64
"""So many fills have their turn within a second or so, unless pieces would be very small."""

SMALLEST_PIECE = 4 * 1024
LARGEST_PIECE = 256 * 1024


class Bandwidth:
    """A bucket of `rate` bytes a second, in which there may be a debt; times are in seconds of one monotonic clock."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._paid_until = -math.inf

    def pause(self, now: float) -> float:
        """Return after how many seconds nothing is owed any more."""
        return max(0.0, self._paid_until - now)

    def spend(self, size: int, now: float) -> None:
        """Take `size` bytes, there or not; give them back if it is negative."""
        self._paid_until = max(self._paid_until, now - BURST_SECONDS) + size / self._rate


class Throttle:
    """Gives the fills of an upstream their turns to read; without a `rate` in bytes a second, whenever they want."""

    def __init__(self, rate: int | None = None) -> None:
        self._bandwidth = None if rate is None else Bandwidth(rate)
        self._order = asyncio.Lock()
        self.piece = None if rate is None else min(max(rate // ROUND, SMALLEST_PIECE), LARGEST_PIECE)
        """How many bytes may be read in a turn; None for any number."""

    async def turn(self) -> None:
        """Wait for a turn, in the order in which fills come; `took` is to follow."""
        if self._bandwidth is None or self.piece is None:
            return
        async with self._order:
            await asyncio.sleep(self._bandwidth.pause(_now()))
            # Before the bytes are there: whoever is next may not wait for a network.
            self._bandwidth.spend(self.piece, _now())

    def took(self, size: int) -> None:
        """So many bytes were read in the turn."""
        if self._bandwidth is not None and self.piece is not None:
            self._bandwidth.spend(size - self.piece, _now())


UNLIMITED = Throttle()


def _now() -> float:
    return asyncio.get_running_loop().time()
