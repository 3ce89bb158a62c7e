"""Turns among all processes of a cache folder: one at a time does something, in this process and among all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirror.errors import StoreFailed
from mirror.store import files
from mirror.store.folders import Folders
from mirror.store.threads import Threads

_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.02


class Turns:
    """Whose turn it is has the file `name` in `run/` locked, so that one who dies has it no more.

    A lock that cannot be had in time is done without, since it only saves work.
    """

    def __init__(self, folders: Folders, name: str, threads: Threads) -> None:
        self.name = name
        self._folders = folders
        self._threads = threads
        self._one_at_a_time = asyncio.Lock()
        self._patience = _LOCK_SECONDS

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it."""
        async with self._one_at_a_time:
            fd = await self._lock()
            try:
                yield
            finally:
                if fd is not None:
                    await self._threads.run(files.close, fd)

    async def _lock(self) -> int | None:
        until = time.monotonic() + self._patience
        try:
            while True:
                fd = await self._threads.obtain(lambda: self._folders.run.claim(self.name), _close)
                if fd is not None or time.monotonic() >= until:
                    # Whoever has it and does nothing is not waited for again and again.
                    self._patience = 0.0 if fd is None else _LOCK_SECONDS
                    return fd
                await asyncio.sleep(_POLL_SECONDS)
        except StoreFailed:
            return None


def _close(fd: int | None) -> None:
    if fd is not None:
        files.close(fd)
