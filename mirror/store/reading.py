"""Files held open for reading: committed blobs, and partial files that still grow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mirror.errors import StoreFailed
from mirror.store.files import close, duplicate, in_memory, read_ahead
from mirror.store.threads import Threads


class ReadableFile:
    """A descriptor of its own, and the threads that read ahead for it (see OpenFile)."""

    def __init__(self, fd: int, threads: Threads) -> None:
        self._fd = fd
        self._threads = threads

    @classmethod
    def duplicate_of(cls, fd: int, threads: Threads) -> ReadableFile:
        """Return the open file once more, to be closed on its own; raises StoreFailed without descriptors."""
        try:
            return ReadableFile(duplicate(fd), threads)
        except OSError as error:
            raise StoreFailed(f"the disk refused: {error.strerror}") from error

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def is_loaded(self, start: int, stop: int) -> bool:
        """Tell whether the range is in memory; False also where the file system cannot tell."""
        return in_memory(self._fd, start, stop)

    async def load(self, start: int, stop: int) -> None:
        """Read the range into memory, in a thread, unless it is there."""
        if start < stop and not self.is_loaded(start, stop):
            await self._threads.run(read_ahead, self._fd, start, stop)

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            close(self._fd)
            self._fd = -1


class StoredBlob(ReadableFile):
    """A committed blob (see Body); `closed` is called when its reader lets go, `doubted` when it
    did not give the bytes it should have.
    """

    def __init__(
        self,
        fd: int,
        size: int,
        threads: Threads,
        closed: Callable[[], None],
        doubted: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(fd, threads)
        self._size = size
        self._closed = closed
        self._doubted = doubted

    @property
    def size(self) -> int:
        """The length in bytes."""
        return self._size

    @property
    def is_whole(self) -> bool:
        """It is."""
        return True

    async def sendable(self, offset: int) -> int:
        """Return the length: all of it is verified."""
        return max(offset, self._size)

    async def verified(self) -> None:
        """Nothing to wait for."""

    async def doubt(self) -> None:
        """Have it removed: the next one to ask fetches it again."""
        await self._doubted()

    def close(self) -> None:
        """Close the descriptor and give up the lease."""
        if self._fd >= 0:
            super().close()
            self._closed()
