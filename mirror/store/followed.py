"""A partial file that another process writes, as one who reads along sees it (see FollowedFile)."""

from __future__ import annotations

import os
from contextlib import suppress

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.interfaces.fills import FillState, Sighting
from mirror.store import files, pages
from mirror.store.hashing import take_in
from mirror.store.pages import Page
from mirror.store.passage import PassageFile, Passages
from mirror.store.place import Place
from mirror.store.reading import ReadableFile
from mirror.store.threads import Threads

_PATIENCE = 5
# Looks that show nothing new before it is asked whether there still is a writer.


class Followed:
    """The file open as `fd`, which had its name at `place` when it was opened."""

    def __init__(self, fd: int, digest: Digest, place: Place, passages: Passages, threads: Threads) -> None:
        self._fd = fd
        self._page_fd = -1
        self._digest = digest
        self._place = place
        self._passages = passages
        self._threads = threads
        self._last: Page | None = None
        self._unchanged = 0

    def identity(self) -> tuple[int, int, int]:
        """Return device, inode and size of the file."""
        return files.identity(self._fd)

    async def look(self) -> Sighting:
        """Return how far its writer has come."""
        return await self._threads.run(self._look)

    def _look(self) -> Sighting:
        page = self._page()
        self._unchanged = self._unchanged + 1 if page == self._last else 0
        self._last = page
        is_written = self._is_written()
        may_be_done = not is_written or page is None or page.state is FillState.COMMITTED
        if may_be_done and self._place.target.has(self._digest.encoded, self._fd):
            # Also if its writer died between the rename and saying so.
            size = self.identity()[2]
            return Sighting(size, size, FillState.COMMITTED, is_agreed=True, is_written=False)
        if page is None:
            return Sighting(0, None, FillState.WRITING, is_agreed=False, is_written=is_written)
        if not page.is_agreed:
            # It may have been begun ahead, and be held until somebody comes.
            with suppress(OSError):
                files.write_at(self._page_fd, pages.MARK, pages.SIZE)
        return Sighting(page.prefix, page.total, page.state, page.is_agreed, is_written)

    def _page(self) -> Page | None:
        """Return the page of this very file; another one's may have the name, or the last one still."""
        if self._page_fd < 0:
            opened = self._place.run.open(self._place.name, os.O_RDWR)
            if opened is None:
                return None
            self._page_fd = opened[0]
        page = pages.unpack(files.read_at(self._page_fd, pages.SIZE, 0))
        if page is None or page.inode != self.identity()[1]:
            files.close(self._page_fd)
            self._page_fd = -1
            return None
        return page

    def _is_written(self) -> bool:
        if self._unchanged < _PATIENCE:
            return True
        self._unchanged = 0
        if not files.try_lock(self._fd):
            return True
        files.unlock(self._fd)
        return False

    def reader(self) -> ReadableFile:
        """Return the file open for reading."""
        return ReadableFile.duplicate_of(self._fd, self._threads)

    async def spill(self, prefix: int) -> PassageFile:
        """Return a passage for what comes behind the first `prefix` bytes, which are hashed for it."""
        hasher = self._digest.hasher()
        if await take_in(self._fd, hasher, prefix, self._threads) < prefix:
            raise StoreFailed("the file is shorter than it was")
        return self._passages.begin(self._digest, hasher, prefix)

    async def close(self) -> None:
        """Close the descriptors."""
        fds, self._fd, self._page_fd = (self._fd, self._page_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                await self._threads.run(files.close, fd)
