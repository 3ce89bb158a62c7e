"""Room on the disk: reserved before the first byte, made by eviction, never beyond `max_size` nor below `min_free`.

What is in `partial/` counts with the length it will have, whichever process writes it. One process at a time reserves
or evicts; a lock that cannot be had in time is done without, since it only saves work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from mirror.errors import StoreFailed
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.store import CacheResized, PinsCrowding
from mirror.store import files, pages
from mirror.store.committed import Committed
from mirror.store.eviction import Eviction
from mirror.store.folders import Folders
from mirror.store.place import OURS
from mirror.store.processes import Processes
from mirror.store.threads import Threads

_LOCK = "room"
_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.02
_FRESH_SECONDS = 5.0
_CROWDED = 0.9
# So much of `max_size`, pinned, leaves little room.


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the cache may hold, and how much of the disk it leaves free; in bytes.

    `unused` is for how many seconds a file is kept without being used while a mirror runs, None for any time.
    """

    max_size: int
    min_free: int = 0
    unused: float | None = None

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
    """Keeps the cache within its limits."""

    def __init__(
        self,
        eviction: Eviction,
        committed: Committed,
        folders: Folders,
        limits: Limits,
        threads: Threads,
        observer: Observer,
    ) -> None:
        self.limits = limits
        self.is_crowded = False
        """True while what is pinned leaves little room for anything else."""
        self._eviction = eviction
        self._committed = committed
        self._index = committed.index
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
        while True:
            is_known = self._index.is_whole
            async with self.turn():
                # In this order: what is committed meanwhile counts twice rather than not at all.
                unfinished = await self._threads.run(self._unfinished, name)
                await self.look_around()
                if await self._fit(name, wanted, unfinished.size, unfinished.unwritten + wanted - have):
                    await self._threads.run(agreed)
                    return True
            if is_known:
                return False
            with suppress(StoreFailed):
                await self._index.known()
            if not self._index.is_whole:
                return False

    async def _fit(self, name: str, wanted: int, unfinished: int, unwritten: int) -> bool:
        """Make room for `wanted` bytes beside `unfinished` ones, of all of which so many are not written yet."""
        lacking = self._index.at_most() + unfinished + wanted - self.limits.max_size
        short = await self._short_of_disk(unwritten)
        if max(lacking, short) > 0 and not self._index.is_whole:
            # Who goes first is not known yet.
            return False
        if max(lacking, short) > 0:
            freed = await self._threads.run(self._drop_leftovers, name)
            lacking, short = lacking - freed, short - freed
        if max(lacking, short) > 0:
            await self._eviction.prepare()
        if max(lacking, short) > min(self._index.size // 2, self._index.size - self._eviction.held):
            # The disk is others', or full of what is being fetched, or what is here is pinned: emptying the cache
            # would not help for long, or not at all.
            return False
        if not await self._eviction.make(lacking, "size"):
            return False
        short = await self._short_of_disk(unwritten)
        # What was evicted takes its place for as long as it is read.
        return short <= 0 or (await self._eviction.make(short, "disk") and await self._short_of_disk(unwritten) <= 0)

    async def make_room(self) -> None:
        """Evict until the committed files fit, or only files that are being read are left."""
        if self._index.is_whole and self._index.size > self.limits.max_size:
            await self.tidy()
        else:
            self.report()

    async def tidy(self) -> None:
        """The same, with what other processes did known; evict also what has not been used for too long.

        Only once all files are known.
        """
        async with self.turn():
            await self.look_around()
            await self._eviction.prepare()
            await self._evict_aged()
            await self._eviction.make(self._index.size - self.limits.max_size, "size")
        self.report()

    async def _evict_aged(self) -> None:
        unused = self.limits.unused
        if unused is not None and self._eviction.aged(unused):
            # Not before it is known that no other process has used it either.
            await self.look_around(at_once=True)
            await self._eviction.evict_aged(unused)

    def absent(self, since: float) -> float:
        """Return for how many seconds after `since`, which do not count as age, no mirror ran."""
        return self._eviction.absent(since)

    def is_short(self) -> bool:
        """Tell whether less of the disk is free than should be left to others; blocks."""
        return self._folders.partial.free_space() < self.limits.min_free

    def report(self) -> None:
        """Tell how much there is, and whether pins crowd it."""
        was_crowded, held = self.is_crowded, self._eviction.held
        self.is_crowded = held > self.limits.max_size * _CROWDED
        if self.is_crowded and not was_crowded:
            self._observer.notify(PinsCrowding(held, self.limits.max_size))
        totals = self._index.totals()
        self._observer.notify(CacheResized(totals.size, totals.manifests, totals.blobs))

    async def look_around(self, *, at_once: bool = False) -> None:
        """Learn what other processes did, if there were any; `at_once` also what they used until now."""
        if self._index.is_whole and await self._threads.run(self._processes.had_company):
            await self._committed.refresh(at_once=at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Reserve or evict, one at a time, in this process and among all; or keep the others from it."""
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
            is_fresh = abs(time.time() - entry.modified) < _FRESH_SECONDS
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

    def enter(self) -> None:
        """Count this process among those that use the folder; blocks."""
        self._processes.enter()

    def leave(self) -> None:
        """Count it no more; blocks."""
        self._processes.leave()


def _close(fd: int | None) -> None:
    if fd is not None:
        files.close(fd)
