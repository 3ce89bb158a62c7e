"""A partial file: written and hashed by one fill, read by anybody, and renamed among the blobs when verified."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.store.files import Folder, seal, write_all
from mirror.store.reading import ReadableFile
from mirror.store.threads import FileThreads


@dataclass(frozen=True, slots=True)
class PartialEvents:
    """What the owner of a partial file wants to be told, in the order in which it happens."""

    committed: Callable[[int], None]
    """The file, of this size, has its name among the blobs."""
    grown: Callable[[], Awaitable[None]]
    """The cache is larger now, and whoever made it so can wait until there is room again."""
    closed: Callable[[], None]
    """The writer has let go of the file."""


class Partial:
    """The file of a fill in progress (see interfaces.PartialFile): from the first folder into the second."""

    def __init__(
        self, name: str, digest: Digest, folders: tuple[Folder, Folder], threads: FileThreads, events: PartialEvents
    ) -> None:
        self._name = name
        self._digest = digest
        self._hasher = digest.hasher()
        self._folder, self._target = folders
        self._threads = threads
        self._events = events
        self._size = 0
        self._fd = -1
        self._is_named = False
        self._closed = False

    async def create(self) -> None:
        """Begin with an empty file."""
        self._fd = await self._threads.writing.obtain(lambda: self._folder.create(self._name), os.close)

    async def append(self, data: bytes) -> None:
        """Write `data` at the end and hash it, in one thread."""
        await self._threads.writing.run(self._append, data)

    def _append(self, data: bytes) -> None:
        write_all(self._fd, data)
        self._hasher.update(data)
        self._size += len(data)

    def verified(self) -> bool:
        """Tell whether the bytes so far have the digest."""
        return self._hasher.hexdigest() == self._digest.encoded

    async def commit(self) -> None:
        """Make the file durable and read-only, and give it its name among the blobs."""
        if not self.verified():
            raise StoreFailed("an unverified file cannot be committed")
        try:
            await self._threads.writing.run(self._commit)
        finally:
            # Also when cancelled meanwhile: the call ran to its end.
            if self._is_named:
                self._events.committed(self._size)
        await self._events.grown()

    def _commit(self) -> None:
        seal(self._fd)
        self._folder.move(self._name, self._fd, self._target, self._digest.encoded)
        self._is_named = True

    async def discard(self) -> None:
        """Take the name away; readers keep the file open."""
        await self._threads.writing.run(self._folder.remove, self._name)

    def reader(self) -> ReadableFile:
        """Return the file open for reading, independent of this writer."""
        try:
            return ReadableFile(os.dup(self._fd), self._threads.reading)
        except OSError as error:
            raise StoreFailed(f"the disk refused: {error.strerror}") from error

    async def close(self) -> None:
        """Close the writer's descriptor."""
        if self._closed:
            return
        self._closed = True
        self._events.closed()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            await self._threads.writing.run(os.close, fd)
