"""Where the bytes of a fill go: to the disk or through memory, from this process or another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mirror.proxy.interfaces.bodies import OpenFile
from mirror.proxy.interfaces.upstream import Data


class FillState(StrEnum):
    """Where a fill stands; it only ever moves down this list."""

    WRITING = "writing"
    VERIFIED = "verified"
    COMMITTED = "committed"
    FAILED = "failed"


class Sink(Protocol):
    """Where a fill puts its bytes, in order, hashed soon after they came. Raises StoreFailed throughout."""

    @property
    def size(self) -> int:
        """How many bytes there are, those of an earlier attempt included."""

    async def append(self, data: Data) -> None:
        """Put `data` at the end; it must stay as it is until the next append, or `verified`, has returned."""

    async def verified(self) -> bool:
        """Tell whether the bytes so far have the digest."""

    async def close(self) -> None:
        """Let go; harmless when repeated."""


class PartialFile(Sink, Protocol):
    """A file being written: appended to by one fill on this machine, read by anybody."""

    async def expect(self, total: int | None) -> bool:
        """Reserve the room for a blob of `total` bytes, None while nobody knows; False if it cannot be kept."""

    async def is_wanted(self) -> bool:
        """Tell whether another process has looked at it since it was claimed, and waits for upstream to agree."""

    async def holds(self, offset: int, data: Data) -> bool:
        """Tell whether the file has `data` at `offset`."""

    async def commit(self) -> None:
        """Make the file durable and give it its name among the blobs; it must be verified."""

    async def keep(self) -> None:
        """Leave the file for whoever goes on with it later."""

    async def discard(self) -> None:
        """Take the file's name away; readers keep it open."""

    def reader(self) -> OpenFile:
        """Return the file open for reading, independent of this writer."""

    def continues(self, followed: FollowedFile) -> bool:
        """Tell whether this is the very file that was followed before its writer died."""

    def spill(self) -> Passage:
        """Return a passage for what the disk does not take any more, behind the bytes it has."""


class Passage(Sink, Protocol):
    """Bytes that pass through memory because they cannot be kept: a window that moves on with its readers."""

    @property
    def start(self) -> int:
        """Where in the blob the passage begins; what is before is on disk."""

    @property
    def floor(self) -> int:
        """The first byte that is still there."""

    def at(self, offset: int) -> tuple[OpenFile, int]:
        """Return the file that has the bytes at `offset`, and where its share of them ends. It is not to be closed."""

    def forget(self, before: int) -> None:
        """Let go of bytes that nobody needs any more."""


class FollowedFile(Protocol):
    """A partial file that another process writes. Raises StoreFailed throughout."""

    async def look(self) -> Sighting:
        """Return how far its writer has come."""

    def reader(self) -> OpenFile:
        """Return the file open for reading."""

    async def spill(self, prefix: int) -> Passage:
        """Return a passage for what comes behind the first `prefix` bytes, which are hashed for it."""

    async def close(self) -> None:
        """Let go; harmless when repeated."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """How far another process's fill has come: `prefix` bytes of `total`, None while nobody knows how many.

    `is_agreed` is False while upstream has not agreed to it, `is_written` once its writer has left it.
    """

    prefix: int
    total: int | None
    state: FillState
    is_agreed: bool
    is_written: bool
