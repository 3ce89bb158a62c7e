"""The readers of a fill: whether there are any, where each of them is, and the pace that the slowest sets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mirror.errors import StoreFailed
from mirror.proxy.interfaces.fills import Passage

WINDOW = 4 * 1024 * 1024
"""Bytes that a passage keeps in memory for readers that are behind."""

PASSED_AT_ONCE = 256 * 1024
"""Bytes that may come before way is made for more: so much larger than the window a passage may be."""

LAGGING_SECONDS = 5.0
"""How long the readers of a passage wait for one that is behind before it is cut."""


@dataclass(slots=True, eq=False)
class Seat:
    """Where a reader is: what is before `offset` has been read. It `is_cut` once the others go on without it."""

    offset: int = 0
    is_cut: bool = False


class Audience:
    """All who want to read a fill; some of them wait for it to begin, the others have a seat."""

    def __init__(self) -> None:
        self._seats: set[Seat] = set()
        self._interested = 0
        self._uninteresting = asyncio.Event()
        self._uninteresting.set()
        self._moved = asyncio.Event()

    # For readers. ----------------------------------------------------------------------------------------

    def acquire(self) -> None:
        """A reader comes: the file stays open until it leaves."""
        self._interested += 1
        self._uninteresting.clear()

    def release(self) -> None:
        """A reader leaves."""
        self._interested -= 1
        if self._interested == 0:
            self._uninteresting.set()
        self._moved.set()

    def seat(self) -> Seat:
        """Return the place of a reader that has come, at the first byte."""
        seat = Seat()
        self._seats.add(seat)
        return seat

    def move(self, seat: Seat, offset: int) -> None:
        """A reader has what is before `offset`."""
        seat.offset = offset
        self._moved.set()

    def leave(self, seat: Seat) -> None:
        """A reader that had a seat leaves; harmless for one that was cut, which has left."""
        if not seat.is_cut:
            self._seats.discard(seat)
            self.release()

    # For the writer. -------------------------------------------------------------------------------------

    async def unread(self) -> None:
        """Wait until nobody reads."""
        await self._uninteresting.wait()

    async def make_way(self, passage: Passage) -> None:
        """Wait until the readers of the passage are near its end, and let go of what all of them have.

        One that keeps the others waiting is cut. Raises StoreFailed once nobody is left.
        """
        while self._slowest(passage) < passage.size - WINDOW:
            self._moved.clear()
            try:
                async with asyncio.timeout(LAGGING_SECONDS):
                    await self._moved.wait()
            except TimeoutError:
                self._cut_laggards(passage)
        if self._interested == 0:
            raise StoreFailed("it cannot be kept, and nobody reads it any more")
        passage.forget(self._slowest(passage))

    def _slowest(self, passage: Passage) -> int:
        if self._interested > len(self._seats):
            return passage.floor
        return min((seat.offset for seat in self._seats), default=passage.size)

    def _cut_laggards(self, passage: Passage) -> None:
        half_way = passage.size - WINDOW // 2
        if any(seat.offset >= half_way for seat in self._seats):
            for seat in [seat for seat in self._seats if seat.offset < half_way]:
                self.leave(seat)
                seat.is_cut = True
