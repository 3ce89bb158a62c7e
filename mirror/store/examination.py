"""One committed file under examination: held open until its end, so that nothing else is removed in its place."""

from __future__ import annotations

import asyncio

from mirror.errors import StoreFailed
from mirror.proxy.scrubbing.scrub import Problem, StoredFile
from mirror.store import files
from mirror.store.committed import Committed
from mirror.store.folders import Folders
from mirror.store.index import Index
from mirror.store.threads import Threads

_PIECE = 4 * 1024 * 1024


class Examination:
    """What is wrong with a file, and its removal (see scrub.Examined); `close` ends it."""

    def __init__(
        self, file: StoredFile, folders: Folders, committed: Committed, index: Index, threads: Threads
    ) -> None:
        self._digest = file.digest
        self._folder = folders.of(file.digest)
        self._committed = committed
        self._index = index
        self._threads = threads
        self._fd: int | None = None
        self.problem: Problem | None = None
        self.detail = ""

    async def run(self, *, fast: bool, bandwidth: int | None) -> None:
        """Find out; `fast` looks at the size only, else at most `bandwidth` bytes a second are read."""
        try:
            self.problem = await self._find(fast=fast, bandwidth=bandwidth)
        except StoreFailed as error:
            is_rotten = files.is_rotten(error.__cause__)
            self.problem = Problem.UNREADABLE if is_rotten else Problem.UNEXAMINED
            self.detail = str(error)

    async def _find(self, *, fast: bool, bandwidth: int | None) -> Problem | None:
        opened = await self._threads.obtain(lambda: self._folder.open(self._digest.encoded), files.close_opened)
        if opened is None:
            return None
        self._fd, size = opened
        known = self._index.get(self._digest)
        is_resized = known is not None and known.size != size
        if fast:
            return Problem.RESIZED if is_resized else None
        if not await self._is_right(self._fd, bandwidth):
            return Problem.RESIZED if is_resized else Problem.DAMAGED
        if known is not None and is_resized:
            # The row was wrong: whoever believes it would throw a good file away.
            self._index.add(self._digest, size, is_manifest=known.is_manifest)
        return None

    async def _is_right(self, fd: int, bandwidth: int | None) -> bool:
        hasher = self._digest.hasher()
        started = _now()

        def take(offset: int) -> int:
            piece = files.read_at(fd, _PIECE, offset)
            hasher.update(piece)
            return len(piece)

        offset = 0
        while taken := await self._threads.run(take, offset):
            offset += taken
            if bandwidth is not None:
                await asyncio.sleep(max(0.0, started + offset / bandwidth - _now()))
        return hasher.hexdigest() == self._digest.encoded

    async def remove(self) -> bool:
        """Remove the file, readers keep it open; False if it has lost its name to another, or altogether."""
        if self._fd is not None and not await self._threads.run(self._folder.has, self._digest.encoded, self._fd):
            return False
        await self._committed.remove(self._digest)
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            files.close(self._fd)


def _now() -> float:
    return asyncio.get_running_loop().time()
