"""Purges, told to all processes of a cache: a byte for each, at the end of a file in `run/`.

Who is about to answer from memory looks behind the bytes that it has seen. That is one system call, which at the end of
a file neither waits for a disk nor touches a page.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from mirror.store import files
from mirror.store.folders import Folders

_NAME = "purges"
_MANY = 4096


class Purges:
    """What is remembered in this process is forgotten when any process has purged something.

    Without folders, and before `enter`, there is nobody to hear from.
    """

    def __init__(self, folders: Folders | None = None) -> None:
        self._folders = folders
        self._forgetful: list[Callable[[], None]] = []
        self._fd = -1
        self.seen = 0
        """How many there have been; what was read from disk before it changed may be of before a purge."""

    def on_news(self, forget: Callable[[], None]) -> None:
        """Have `forget` called when something was purged."""
        self._forgetful.append(forget)

    def enter(self) -> None:
        """Begin to listen; blocks, raises OSError."""
        if self._folders is None:
            return
        # One that died in the middle of a purge has not told it.
        with suppress(OSError):
            self.tell()
        self._fd = self._folders.run.open_or_create(_NAME)
        self.seen = files.identity(self._fd)[2]

    def heed(self) -> None:
        """Forget what has to be forgotten by now."""
        if self._fd < 0:
            return
        news = b""
        with suppress(OSError):
            news = files.read_at(self._fd, _MANY, self.seen)
        if news:
            self.seen += len(news)
            for forget in self._forgetful:
                forget()

    def tell(self) -> None:
        """Tell all processes, this one as well; blocks, raises OSError."""
        if self._folders is not None:
            self._folders.run.append(_NAME, b".")

    def leave(self) -> None:
        """Listen no more; blocks."""
        if self._fd >= 0:
            files.close(self._fd)
            self._fd = -1
