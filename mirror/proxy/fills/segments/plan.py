"""Which part of a blob is asked for next: each byte is given out once, in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.proxy.interfaces.upstream import LASTING

FIRST = 2 * 1024 * 1024
"""Bytes that are asked for first, to see how they come."""

LEAST, MOST = 1024 * 1024, LASTING
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

    def share(self, width: int) -> int:
        """Return how many bytes each part has that is asked for now, by one of `width` connections."""
        return min(max(-(-self.left // (width - 1)), LEAST), MOST) if width > 1 else self.left

    def next(self, size: int) -> Part:
        """Return the next part, of so many bytes if there are as many; empty at the end."""
        return Part(self._next, self._next + min(size, self.left))

    def give_out(self, part: Part) -> None:
        """The next part, which this is, is fetched."""
        self._next = part.stop
