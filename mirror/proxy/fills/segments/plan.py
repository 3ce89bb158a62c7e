"""Which part of a blob is asked for next: each byte is given out once, in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 2 * 1024 * 1024
"""Bytes that are asked for first, to see how they come."""

LEAST, MOST = 1024 * 1024, 4 * 1024 * 1024
"""Bytes of a part that is fetched ahead: less is not worth a request, and more waits in memory for its turn."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from `start` on that are before `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes that is."""
        return self.stop - self.start


class Plan:
    """What is still to be given out of the bytes from `start` on that are before `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        self._next = start
        self._stop = stop

    @property
    def start(self) -> int:
        """Where the first byte is that is still to be given out."""
        return self._next

    @property
    def left(self) -> int:
        """How many bytes are still to be given out."""
        return self._stop - self._next

    def next(self, width: int) -> Part:
        """Return the next part for one of `width` connections, all of the rest for an only one; empty at the end."""
        size = self.left
        if width > 1:
            share = -(-self.left // (width - 1))
            size = min(max(share, LEAST), MOST, self.left)
        return Part(self._next, self._next + size)

    def give_out(self, part: Part) -> None:
        """The next part, which this is, is fetched."""
        self._next = part.stop
