"""Room on the disk: reserved before the first byte, made by eviction, never beyond `max_size` nor below `min_free`.

What is in `partial/` counts with the length it will have, whichever process writes it. One process at a time reserves
or evicts; a lock that cannot be had in time is done without, since it only saves work.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

from mirror.errors import StoreFailed
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.store import CacheResized, PinsCrowding
from mirror.store import files
from mirror.store.committed import Committed
from mirror.store.eviction import Eviction
from mirror.store.folders import Folders
from mirror.store.limits import Limits
from mirror.store.processes import Processes
from mirror.store.threads import Threads
from mirror.store.turns import Turns
from mirror.store.unfinished import Survey, drop_leftovers, survey

_LOCK = "room"
_CROWDED = 0.9
# So much of `max_size`, pinned, leaves little room.


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
        self._landing: dict[str, int] = {}
        self._is_behind = False
        self._turns = Turns(folders, _LOCK, threads)

    async def reserve(self, name: str, have: int, wanted: int, agreed: Callable[[], None]) -> bool:
        """Make room for the partial file `name`, which has `have` bytes and will have `wanted`.

        Returns False where there is none to be made. `agreed` is called, in a thread, once it is reserved.
        """
        if not self.limits.admits(wanted):
            return False
        if await self._threads.run(self._reserve_at_once, name, have, wanted, agreed):
            return True
        while True:
            is_known = self._index.is_whole
            async with self.turn():
                seen = await self._threads.run(survey, self._folders, name)
                await self.look_around()
                if await self._fit(name, wanted, seen, wanted - have):
                    await self._threads.run(agreed)
                    return True
            if is_known:
                return False
            with suppress(StoreFailed):
                await self._index.known()
            if not self._index.is_whole:
                return False

    def _reserve_at_once(self, name: str, have: int, wanted: int, agreed: Callable[[], None]) -> bool:
        """Reserve what is there already; False where something has to be made, or learned, or somebody has the lock."""
        fd = None
        with suppress(OSError):
            fd = self._folders.run.claim(_LOCK) if self._folders.has_locks else None
        if fd is None:
            return False
        try:
            if self._index.is_whole and self._had_company():
                return False
            seen = survey(self._folders, name)
            if max(self._lacking(seen, wanted), self._short(seen, wanted - have)) > 0:
                return False
            agreed()
            return True
        finally:
            files.close(fd)

    def lands(self, name: str, size: int) -> None:
        """The partial file `name` becomes a committed one of this size, which nobody knows of before `landed`."""
        self._landing[name] = size

    def landed(self, name: str) -> None:
        """It is known among the committed ones, or is none."""
        self._landing.pop(name, None)

    def _lacking(self, seen: Survey, wanted: int) -> int:
        # In this order: what is committed meanwhile counts twice rather than not at all.
        unfinished = sum({**seen.sizes, **self._landing}.values())
        return unfinished + self._index.at_most() + wanted - self.limits.max_size

    def _short(self, seen: Survey, unwritten: int) -> int:
        return self.limits.min_free + seen.unwritten + unwritten - seen.free

    async def _fit(self, name: str, wanted: int, seen: Survey, unwritten: int) -> bool:
        """Make room for `wanted` bytes, so many of them not written yet, beside the partial files that are seen."""
        lacking, short = self._lacking(seen, wanted), self._short(seen, unwritten)
        if max(lacking, short) <= 0:
            return True
        if not self._index.is_whole:
            # Who goes first is not known yet.
            return False
        freed = await self._threads.run(drop_leftovers, self._folders, name)
        lacking, short = lacking - freed, short - freed
        if max(lacking, short) > 0:
            await self._eviction.prepare()
        if max(lacking, short) > min(self._index.size // 2, self._index.size - self._eviction.held):
            # The disk is others', or full of what is being fetched, or what is here is pinned: emptying the cache
            # would not help for long, or not at all.
            return False
        if not await self._eviction.make(lacking, "size"):
            return False
        unwritten += seen.unwritten
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
        if self._index.is_whole and await self._threads.run(self._had_company):
            # Whoever comes while we look has to be looked for once more.
            self._is_behind = False
            await self._committed.refresh(at_once=at_once)

    def _had_company(self) -> bool:
        # Not forgotten by being asked: whoever reserves at once leaves it to others to catch up.
        self._is_behind = self._processes.had_company() or self._is_behind
        return self._is_behind

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Reserve or evict, one at a time, in this process and among all; or keep the others from it."""
        return self._turns.turn()

    async def _short_of_disk(self, size: int) -> int:
        """Return how many bytes more would have to be free to write `size` bytes."""
        return self.limits.min_free + size - await self._threads.run(self._folders.partial.free_space)

    def enter(self) -> None:
        """Count this process among those that use the folder; blocks."""
        self._processes.enter()

    def leave(self) -> None:
        """Count it no more; blocks."""
        self._processes.leave()
