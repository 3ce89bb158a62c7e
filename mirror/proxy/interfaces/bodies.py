"""Bytes that are read: files held open, and the bodies of blobs."""

from __future__ import annotations

from typing import Protocol


class OpenFile(Protocol):
    """A file held open for reading, whatever happens to its name."""

    def fileno(self) -> int:
        """Return the descriptor; read it only at explicit offsets."""

    def is_loaded(self, start: int, stop: int) -> bool:
        """Tell whether reading this range does not wait for the disk; False also where nobody can tell."""

    async def load(self, start: int, stop: int) -> None:
        """Make sure that reading this range does not wait for the disk; raises StoreFailed."""

    def close(self) -> None:
        """Let go; harmless when repeated."""


class Body(OpenFile, Protocol):
    """The bytes of a blob, complete or still growing."""

    @property
    def size(self) -> int | None:
        """The length of the whole blob; None while nobody knows."""

    @property
    def is_whole(self) -> bool:
        """Tell whether all of it is there and verified, in the one file that is open."""

    async def sendable(self, offset: int) -> int:
        """Wait until bytes behind `offset` may be sent and return where they end; `offset` at the very end.

        Bytes may be sent before the digest is verified, the last ones never. Raises BodyCut when the rest
        will not come.
        """

    async def verified(self) -> None:
        """Wait until the digest has matched; raises BodyCut if it will not.

        What the reader has not read by then it does not need any more.
        """

    async def doubt(self) -> None:
        """The file did not give the bytes it should have: it is not served again."""
