"""Room on the disk: reserved before the first byte, made by eviction, never beyond `max_size` nor below `min_free`.

What is in `partial/` counts with the length it will have, whichever process writes it. One process at a time reserves
or evicts; a lock that cannot be had in time is done without, since it only saves work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events import CacheResized, Evicted, Observer, StoreTroubled
from mirror.store import files, pages
from mirror.store.committed import Committed
from mirror.store.folders import Folders
from mirror.store.index import Index
from mirror.store.place import OURS
from mirror.store.processes import Processes
from mirror.store.threads import Threads

_LOCK = "room"
_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.02
_FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the cache may hold, and how much of the disk it leaves free; in bytes."""

    max_size: int
    min_free: int = 0

    def admits(self, size: int) -> bool:
        """Tell whether a file of this size is kept at all: no blob may cost more than half of what there is."""
        return size <= self.max_size // 2

    def guess(self, size: int, step: int) -> int:
        """Return what to reserve for a file that has `size` bytes and will have nobody knows how many."""
        return max(size, min(size + step, self.max_size // 2))


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """What the partial files will take in the end, and how much of that is not on disk yet; in bytes."""

    size: int = 0
    unwritten: int = 0


class Room:
    """Keeps the cache within its limits; what is being read stays."""

    def __init__(
        self, committed: Committed, index: Index, folders: Folders, limits: Limits, threads: Threads, observer: Observer
    ) -> None:
        self.limits = limits
        self._committed = committed
        self._index = index
        self._folders = folders
        self._processes = Processes(folders)
        self._threads = threads
        self._observer = observer
        self._one_at_a_time = asyncio.Lock()
        self._patience = _LOCK_SECONDS

    async def reserve(self, name: str, have: int, wanted: int, agreed: Callable[[], None]) -> bool:
        """Make room for the partial file `name`, which has `have` bytes and will have `wanted`.

        Returns False where there is none to be made. `agreed` is called, in a thread, once it is reserved.
        """
        if not self.limits.admits(wanted):
            return False
        async with self._turn():
            # In this order: what is committed meanwhile counts twice rather than not at all.
            unfinished = await self._threads.run(self._unfinished, name)
            await self._look_around()
            if not await self._fit(name, wanted, unfinished.size, unfinished.unwritten + wanted - have):
                return False
            await self._threads.run(agreed)
            return True

    async def _fit(self, name: str, wanted: int, unfinished: int, unwritten: int) -> bool:
        """Make room for `wanted` bytes beside `unfinished` ones, of all of which so many are not written yet."""
        lacking = self._index.size + unfinished + wanted - self.limits.max_size
        short = await self._short_of_disk(unwritten)
        if max(lacking, short) > 0:
            freed = await self._threads.run(self._drop_leftovers, name)
            lacking, short = lacking - freed, short - freed
        if max(lacking, short) > self._index.size // 2:
            # The disk is others', or full of what is being fetched: emptying the cache would not help for long.
            return False
        if not await self._evict(lacking, "size"):
            return False
        short = await self._short_of_disk(unwritten)
        # What was evicted takes its place for as long as it is read.
        return short <= 0 or (await self._evict(short, "disk") and await self._short_of_disk(unwritten) <= 0)

    async def make_room(self) -> None:
        """Evict until the committed files fit, or only files that are being read are left."""
        if self._index.size > self.limits.max_size:
            await self.tidy()
        else:
            self._report()

    async def tidy(self) -> None:
        """The same, with what other processes did known."""
        async with self._turn():
            await self._look_around()
            await self._evict(self._index.size - self.limits.max_size, "size")
        self._report()

    def is_short(self) -> bool:
        """Tell whether less of the disk is free than should be left to others; blocks."""
        return self._folders.partial.free_space() < self.limits.min_free

    def _report(self) -> None:
        self._observer.notify(
            CacheResized(self._index.size, self._index.manifests, len(self._index) - self._index.manifests)
        )

    async def _look_around(self) -> None:
        if await self._threads.run(self._processes.had_company):
            await self._committed.refresh()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One at a time, in this process and among all."""
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
                fd = await self._threads.obtain(lambda: self._folders.run.claim(_LOCK), _close)
                if fd is not None or time.monotonic() >= until:
                    # Whoever has it and does nothing is not waited for again and again.
                    self._patience = 0.0 if fd is None else _LOCK_SECONDS
                    return fd
                await asyncio.sleep(_POLL_SECONDS)
        except StoreFailed:
            return None

    async def _short_of_disk(self, size: int) -> int:
        """Return how many bytes more would have to be free to write `size` bytes."""
        return self.limits.min_free + size - await self._threads.run(self._folders.partial.free_space)

    def _unfinished(self, but: str) -> _Unfinished:
        size = unwritten = 0
        for entry in self._folders.partial.entries():
            if entry.name != but:
                page = pages.unpack(self._folders.run.read(entry.name) or b"")
                total = entry.size if page is None else max(entry.size, page.reserved)
                size += total
                unwritten += total - entry.size
        return _Unfinished(size, unwritten)

    def _drop_leftovers(self, but: str) -> int:
        """Remove partial files that nobody writes, and return how many bytes they had."""
        freed = 0
        if not self._folders.has_locks:
            return freed
        for entry in list(self._folders.partial.entries()):
            # Those who read along with one that died a moment ago are about to take over.
            is_fresh = time.time() - entry.modified < _FRESH_SECONDS
            fd = (
                None
                if entry.name == but or is_fresh or not OURS.fullmatch(entry.name)
                else self._folders.partial.claim(entry.name)
            )
            if fd is not None:
                self._folders.run.remove(entry.name)
                self._folders.partial.remove(entry.name)
                files.close(fd)
                freed += entry.size
        return freed

    async def _evict(self, size: int, reason: str) -> bool:
        """Evict files of `size` bytes together; False if that many cannot go."""
        while size > 0:
            victim = self._victim()
            if victim is None:
                return False
            digest, its_size = victim
            try:
                await self._committed.remove(digest)
            except StoreFailed as error:
                self._observer.notify(StoreTroubled("eviction", error))
                return False
            self._observer.notify(Evicted(digest, its_size, reason))
            size -= its_size
        return True

    def _victim(self) -> tuple[Digest, int] | None:
        for digest, entry in self._index.first_to_go():
            if not self._committed.is_leased(digest):
                return digest, entry.size
        return None

    def enter(self) -> None:
        """Count this process among those that use the folder; blocks."""
        self._processes.enter()

    def leave(self) -> None:
        """Count it no more; blocks."""
        self._processes.leave()


def _close(fd: int | None) -> None:
    if fd is not None:
        files.close(fd)
