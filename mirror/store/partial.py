"""A partial file: written and hashed by one fill, read by anybody, and renamed among the blobs when verified."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.store.files import Folder, seal, write_all
from mirror.store.reading import ReadableFile
from mirror.store.threads import FileThreads

Committed = Callable[[int], Awaitable[None]]
"""Told the size of a file once it has its name among the blobs."""


class Partial:
    """The file of a fill in progress (see interfaces.PartialFile)."""

    def __init__(
        self, digest: Digest, folder: Folder, target: Folder, threads: FileThreads, committed: Committed
    ) -> None:
        self._name = f"{digest.algorithm}-{digest.encoded}"
        self._digest = digest
        self._hasher = digest.hasher()
        self._folder = folder
        self._target = target
        self._threads = threads
        self._committed = committed
        self._size = 0
        self._fd = -1

    async def create(self) -> None:
        """Begin with an empty file."""
        self._fd = await self._threads.writing.run(self._folder.create, self._name)

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
        await self._threads.writing.run(self._commit)
        await self._committed(self._size)

    def _commit(self) -> None:
        seal(self._fd)
        self._folder.move(self._name, self._target, self._digest.encoded)

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
        fd, self._fd = self._fd, -1
        if fd >= 0:
            await self._threads.writing.run(os.close, fd)
