"""A partial file that another process writes, as one who reads along sees it (see interfaces.FollowedFile)."""

from __future__ import annotations

from mirror.proxy.interfaces import Sighting
from mirror.proxy.progress import FillState
from mirror.store import files, pages
from mirror.store.files import Folder
from mirror.store.pages import Page
from mirror.store.reading import ReadableFile
from mirror.store.threads import Threads

_PATIENCE = 5
# Looks that show nothing new before it is asked whether there still is a writer.


class Followed:
    """The file open as `fd`, whose writer keeps the page `name` in `run`; committed, it is `encoded` in `target`."""

    def __init__(self, fd: int, name: str, run: Folder, committed: tuple[Folder, str], threads: Threads) -> None:
        self._fd = fd
        self._page_fd = -1
        self._name = name
        self._run = run
        self._target, self._encoded = committed
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
        if may_be_done and self._target.has(self._encoded, self._fd):
            # Also if its writer died between the rename and saying so.
            size = self.identity()[2]
            return Sighting(size, size, FillState.COMMITTED, is_agreed=True, is_written=False)
        if page is None:
            return Sighting(0, None, FillState.WRITING, is_agreed=False, is_written=is_written)
        return Sighting(page.prefix, page.total, page.state, page.is_agreed, is_written)

    def _page(self) -> Page | None:
        """Return the page of this very file; another one's may have the name, or the last one still."""
        if self._page_fd < 0:
            opened = self._run.open(self._name)
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

    async def close(self) -> None:
        """Close the descriptors."""
        fds, self._fd, self._page_fd = (self._fd, self._page_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                await self._threads.run(files.close, fd)
