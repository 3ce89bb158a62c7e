"""A disk in memory that several stores share, as processes share a cache folder, and that may refuse any call."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.interfaces.fills import FillState, Sighting

NOTHING_YET = Sighting(0, None, FillState.WRITING, is_agreed=False, is_written=True)


class Inode:
    """A partial file and what its writer says of it; `owner` holds its lock."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("partial")
        weakref.finalize(self, os.close, self.fd)
        self.owner: object | None = None
        self.page = NOTHING_YET
        self.is_committed = False
        self.is_wanted = False

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    @property
    def data(self) -> bytes:
        """All that is in it, what its writer has not spoken of included."""
        return os.pread(self.fd, self.size, 0)

    def write(self, data: bytes) -> None:
        """Put `data` behind the bytes that the page tells of."""
        os.pwrite(self.fd, data, self.page.prefix)

    def spoil(self) -> None:
        """Turn one bit, as a disk does that rots."""
        middle = self.page.prefix // 2
        os.pwrite(self.fd, bytes([os.pread(self.fd, 1, middle)[0] ^ 1]), middle)

    def shorten(self, size: int) -> None:
        os.ftruncate(self.fd, size)

    def publish(self, prefix: int | None = None, state: FillState = FillState.WRITING) -> None:
        """Say how far the writer is."""
        self.page = replace(self.page, prefix=self.page.prefix if prefix is None else prefix, state=state)


class MemoryDisk:
    """Committed blobs, and partial files by digest; `failing` names the calls that it refuses."""

    def __init__(self) -> None:
        self.committed: dict[Digest, bytes] = {}
        self.partial: dict[Digest, Inode] = {}
        self.discarded: list[Digest] = []
        self.failing: set[str] = set()
        self.claimed = 0

    @property
    def locked(self) -> list[Digest]:
        """The partial files that have a writer."""
        return [digest for digest, inode in self.partial.items() if inode.owner is not None]

    def refuses(self, doing: str) -> bool:
        """Tell whether this call fails."""
        return doing in self.failing

    async def turn(self, doing: str) -> None:
        """Let others have their turn before a call is done, and after it."""
        await asyncio.sleep(0)

    async def call(self, process: Process, doing: str, *actions: Callable[[], None]) -> None:
        """Do the actions one after the other, as one call in a thread: whoever is cancelled waits for its end.

        Raises StoreFailed where the disk refuses. A process that was killed does nothing any more.
        """
        if process.is_dead:
            raise asyncio.CancelledError
        job = asyncio.ensure_future(self._do(process, doing, actions))
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            while not job.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([job])
            if not job.cancelled():
                job.exception()
            raise

    async def _do(self, process: Process, doing: str, actions: tuple[Callable[[], None], ...]) -> None:
        for action in actions:
            await self.turn(doing)
            if process.is_dead:
                raise asyncio.CancelledError
            if self.refuses(doing):
                raise StoreFailed(f"the disk refused: {doing}")
            action()
        await self.turn(doing)


class Process:
    """One of those that use the disk."""

    is_dead = False
