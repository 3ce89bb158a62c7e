"""The memory that a body is received into: all that a short one needs, or three pieces in turn for a long one.

Of those one is received into while one is written and one is hashed. They are small for what comes slowly, and large as
soon as one of them was full and much is still to come.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from itertools import cycle

from mirror.proxy.interfaces.upstream import LASTING

FIRST = 512 * 1024
"""Bytes of a piece at first; what comes more slowly than it is read needs no more."""

LARGE = 2 * 1024 * 1024 - mmap.PAGESIZE
"""Bytes of a piece once one was full: with the place behind it, what the kernel gives in one huge page."""

WORTH = 16 * 1024 * 1024
"""Bytes that are still to come, at least, for large pieces to be worth the clearing of their memory."""

_PIECES = 3
_HUGE = 2 * 1024 * 1024


class Buffers:
    """Memory for the `left` bytes of a body, `room` bytes at a time, with a place behind them for one byte more."""

    def __init__(self, left: int) -> None:
        self._is_lasting = left <= LASTING
        self.room = left if self._is_lasting else FIRST
        self._pieces = cycle(_mapped(self.room, 1 if self._is_lasting else _PIECES))
        self.filling = next(self._pieces)
        """What is received into now."""

    def turn(self, filled: int, left: int) -> memoryview:
        """Go on behind so many bytes, which are returned; so many are `left` to come.

        They stay as they are for two more calls, those of a short body (see LASTING) for good.
        """
        came = self.filling[:filled]
        if self._is_lasting:
            self.filling = self.filling[filled:]
            return came
        if filled == self.room < LARGE and left >= WORTH:
            self.room = LARGE
            self._pieces = cycle(_mapped(self.room, _PIECES))
        self.filling = next(self._pieces)
        return came


def _mapped(size: int, pieces: int) -> list[memoryview]:
    """Return so many pieces of this size and one byte.

    Mapped: the loop does not wait until they are cleared, and what nothing comes into is not taken. Private: what could
    be shared with other processes costs half as much again.
    """
    stride = _rounded(size + 1, mmap.PAGESIZE if size < LARGE else _HUGE)
    memory = mmap.mmap(-1, pieces * stride, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if stride >= _HUGE:
        # Not all kernels have huge pages.
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = memoryview(memory)
    return [whole[start : start + size + 1] for start in range(0, pieces * stride, stride)]


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
