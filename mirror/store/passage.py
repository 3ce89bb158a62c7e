"""A passage: bytes on their way to readers through memory, because the disk takes them not or not any more.

Each segment is a file in memory with its bytes where they are in the blob, so that readers send from it as from disk;
a segment that all readers have is closed, and its memory is free.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from mirror.errors import BodyCut, StoreFailed
from mirror.oci.digest import Digest, Hasher
from mirror.proxy.interfaces.upstream import Data
from mirror.store.files import close, in_passing, write_at
from mirror.store.threads import Threads

SEGMENT = 1024 * 1024
"""Bytes that are let go at once."""

MOST_PASSAGES = 16
"""How many there may be at a time; with their windows they bound the memory."""


class Segment:
    """A piece of a passage (see OpenFile); the passage closes it."""

    def __init__(self) -> None:
        self._fd = in_passing()

    def fileno(self) -> int:
        """Return the descriptor, -1 once the piece is gone."""
        return self._fd

    def is_loaded(self, start: int, stop: int) -> bool:
        """It is in memory."""
        return True

    async def load(self, start: int, stop: int) -> None:
        """Nothing to do: it is in memory."""

    def close(self) -> None:
        """Free the memory."""
        if self._fd >= 0:
            close(self._fd)
            self._fd = -1


class PassageFile:
    """The bytes of a blob from `start` on (see Passage); `hasher` knows those before."""

    def __init__(
        self, digest: Digest, hasher: Hasher, start: int, threads: Threads, closed: Callable[[], None]
    ) -> None:
        self._digest = digest
        self._hasher = hasher
        self._threads = threads
        self._closed = closed
        self._is_closed = False
        self._segments: OrderedDict[int, Segment] = OrderedDict()
        self.start = start
        self.size = start
        self.floor = start

    async def append(self, data: Data) -> None:
        """Take more bytes; raises StoreFailed when memory or descriptors are at an end."""
        await self._threads.run(self._append, data)

    def _append(self, data: Data) -> None:
        rest = memoryview(data)
        while rest:
            piece = bytes(rest[: SEGMENT - self.size % SEGMENT])
            write_at(self._segment(self.size // SEGMENT).fileno(), piece, self.size)
            self._hasher.update(piece)
            self.size += len(piece)
            rest = rest[len(piece) :]

    def _segment(self, number: int) -> Segment:
        if number not in self._segments:
            self._segments[number] = Segment()
        return self._segments[number]

    async def verified(self) -> bool:
        """Tell whether all bytes, those before the passage included, have the digest."""
        return self._hasher.hexdigest() == self._digest.encoded

    def at(self, offset: int) -> tuple[Segment, int]:
        """Return the segment with the byte at `offset`, and where it ends; raises BodyCut if it has passed."""
        segment = self._segments.get(offset // SEGMENT)
        if segment is None or offset < self.floor:
            raise BodyCut("the client was too slow for a blob that cannot be kept")
        return segment, (offset // SEGMENT + 1) * SEGMENT

    def forget(self, before: int) -> None:
        """Close the segments that end before this byte."""
        for number in [number for number in self._segments if (number + 1) * SEGMENT <= min(before, self.size)]:
            self._segments.pop(number).close()
            self.floor = (number + 1) * SEGMENT

    async def close(self) -> None:
        """Free everything."""
        if not self._is_closed:
            self._is_closed = True
            self._closed()
            for segment in self._segments.values():
                segment.close()
            self._segments.clear()


class Passages:
    """The passages of this process, of which there are only so many."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._open = 0

    def begin(self, digest: Digest, hasher: Hasher, start: int) -> PassageFile:
        """Return a new passage; raises StoreFailed if there are too many."""
        if self._open >= MOST_PASSAGES:
            raise StoreFailed("the disk takes nothing, and too much passes through memory already")
        self._open += 1
        return PassageFile(digest, hasher, start, self._threads, self._ended)

    def _ended(self) -> None:
        self._open -= 1
