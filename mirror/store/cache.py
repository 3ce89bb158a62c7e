"""The cache folder as a whole: opened in order, kept in order while it runs, closed in order.

Any number of processes may use it at once.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from mirror.errors import ConfigError, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import StoreTroubled, TaskCrashed
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.readiness import Readiness, Trouble
from mirror.store import drafts, files, layout
from mirror.store.blobs import Blobs
from mirror.store.catalogue import StoredCatalogue, StoredSweeper
from mirror.store.committed import Committed
from mirror.store.contents import StoredContents
from mirror.store.diary import StoredDiary
from mirror.store.eviction import Eviction
from mirror.store.folders import Folders
from mirror.store.held import Held
from mirror.store.identity import new_identity, shared_identity
from mirror.store.index import Index
from mirror.store.inventory import StoredInventory
from mirror.store.limits import Limits
from mirror.store.listings import StoredListings
from mirror.store.manifests import StoredManifests
from mirror.store.pins import ROW, StoredPinBoard, StoredPins
from mirror.store.purges import Purges
from mirror.store.records import StoredRecords
from mirror.store.room import Room
from mirror.store.rows import Rows
from mirror.store.saved import Saved
from mirror.store.threads import FileThreads
from mirror.store.watch import StoredWatch

_PASSING = {errno.ENOSPC, errno.EDQUOT} | files.TOO_MANY_OPEN
# Reasons why a disk takes nothing now, and may again.

_LEAVING_SECONDS = 1.0
# A stop soon after a start lets a small cache be looked through first.

_UPKEEP_SECONDS = 5.0


class Cache:
    """Everything at rest: `blobs`, `manifests`, `records` and `listings`, within `limits`.

    Any folder will do: an empty one, one whose index is gone, one left behind by a crash.
    """

    def __init__(self, path: Path, limits: Limits, observer: Observer, clock: Clock = time.time) -> None:
        path = path.resolve()
        self._path = path
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._threads = FileThreads()
        self._folders = Folders(path)
        self._index_rows = Rows(path / "index", observer)
        self._record_rows = Rows(path / "records", observer)
        self._index = Index(self._index_rows, clock)
        self._committed = Committed(self._folders, self._index, self._threads)
        self._purges = Purges(self._folders)
        self._pins = StoredPins(self._record_rows)
        self.records = StoredRecords(self._record_rows, self._purges, clock)
        self._saved = Saved(self._folders, self.records, self._index, self._threads, clock)
        contents = StoredContents(self._folders, self._threads.reading)
        held = Held(self._pins, self.records, contents, self._index)
        watch = StoredWatch(self._folders, self._threads.writing, clock)
        eviction = Eviction(self._committed, self._index, held, watch, observer)
        self._room = Room(eviction, self._committed, self._folders, limits, self._threads.reserving, observer)
        self.blobs = Blobs(self._committed, self._folders, self._index, self._room, self._threads)
        self.manifests = StoredManifests(self.blobs, self._index, self.records, self._purges, self._threads.reading)
        self.listings = StoredListings(self._folders, self._threads, self._purges)
        self.catalogue = StoredCatalogue(
            self._room, self._index, self.records, self._pins, contents, self._threads.scrubbing
        )
        self.pin_board = StoredPinBoard(self._pins, self._room.turn, self._save_now)
        self.sweeper = StoredSweeper(
            self.records, self.listings, self._purges, self.blobs, self._save_now, self._threads.writing
        )
        self.inventory = StoredInventory(
            self._folders, self._committed, self._index, self.records, self._threads.scrubbing
        )
        self.diary = StoredDiary(self._folders, self._threads.scrubbing)
        self.identity = new_identity()
        """By what name other mirrors know this cache; that of the folder once it is open, if the disk keeps one."""
        self._probing = asyncio.Lock()
        self._upkeep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the folder, and begin to look through its files; raises ConfigError if it cannot be used."""
        try:
            if self._path.exists() and not self._path.is_dir():
                raise ConfigError("cache.path", f"{self._path} is not a folder")
            trouble = await self._threads.writing.run(self._open)
            await self._index_rows.open()
            await self._record_rows.open()
            await self._index.begin()
            await self._restore()
        except StoreFailed as error:
            is_denied = isinstance(error.__cause__, PermissionError)
            whom = f" to user {os.geteuid()}, who has to be able to write there" if is_denied else ""
            raise ConfigError("cache.path", f"{self._path}: {error}{whom}") from error
        if trouble is not None:
            # What is there can be served all the same.
            self._observer.notify(StoreTroubled("opening of the cache", trouble))
        self._room.report()
        self._upkeep = asyncio.create_task(self._keep_up(), name="cache upkeep")

    def _open(self) -> OSError | None:
        """Open the folders, and return what keeps the disk from taking anything for now."""
        self._folders.start()
        try:
            drafts.replace(self._folders.root, "oci-layout", layout.LAYOUT)
            self._room.enter()
            self._purges.enter()
            self.blobs.sweep()
            self.identity = shared_identity(self._folders)
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            return error
        return None

    async def readiness(self) -> Readiness:
        """Tell whether what is stored can be read, and what else is not as it should be."""
        if not await self._threads.reading.run(self._committed.readable):
            return Readiness(ready=False, troubles=(Trouble.UNREADABLE,))
        # What cannot be opened because too many files are open is not the disk's fault.
        handles_short = not files.can_open_more()
        found = {
            Trouble.HANDLES_SHORT: handles_short,
            Trouble.UNWRITABLE: not handles_short and not await self._writable(),
            Trouble.DISK_SHORT: await self._threads.writing.run(self._room.is_short),
            Trouble.PINS_CROWDING: self._room.is_crowded,
        }
        return Readiness(ready=True, troubles=tuple(trouble for trouble, there in found.items() if there))

    async def _writable(self) -> bool:
        async with self._probing:
            return await self._threads.writing.run(self.blobs.writable)

    async def stop(self) -> None:
        """Save the indexes and close everything; nothing may be in use any more."""
        if self._upkeep is not None:
            with suppress(StoreFailed):
                await self._index.known(_LEAVING_SECONDS)
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])
            if self._index.is_whole:
                # Else the rows and the copy there are know more.
                await self._save_now()
        await self._index_rows.close()
        await self._record_rows.close()
        with suppress(StoreFailed):
            await self._threads.writing.run(self._room.leave)
        await self._threads.writing.run(self._purges.leave)
        self._folders.close()
        self._threads.close()

    async def _restore(self) -> None:
        """Bring the records back from the copy, if they are lost."""
        if not await self.records.any():
            await self.records.restore(await self._saved.rows())

    async def _look_through(self) -> None:
        """Learn what files there are, and what evicting them has to know."""
        typed: set[str] = set()
        # Hints, and worth no delay.
        with suppress(StoreFailed):
            typed = await self.records.typed()
        if typed:
            await self._pins.read()
        else:
            with suppress(StoreFailed):
                saved = await self._saved.rows()
                self._pins.begin_with(saved.get(ROW, ""))
                typed = {key for key in saved if key.startswith("type ")}
        await self._committed.look_through({key.removeprefix("type ") for key in typed})

    def _is_kept(self, digest: Digest) -> bool:
        return digest in self._index or self._committed.is_leased(digest)

    async def _are_kept(self, digests: set[Digest]) -> set[Digest]:
        """Return those that are on disk, or on their way there: another process may have put them."""
        # In this order: whatever is on its way may arrive between the two looks.
        return await self._threads.reading.run(
            lambda: {digest for digest in digests if self.blobs.is_unfinished(digest) or self._committed.has(digest)}
        )

    async def _keep_up(self) -> None:
        while not self._index.is_whole:
            await self._try("look through the cache", self._look_through)
            if not self._index.is_whole:
                await asyncio.sleep(_UPKEEP_SECONDS)
        while True:
            await self._tend()
            await asyncio.sleep(_UPKEEP_SECONDS)

    async def _tend(self, *, saves: bool = False) -> None:
        await self._try("upkeep", functools.partial(self._put_in_order, saves=saves))

    async def _put_in_order(self, *, saves: bool) -> None:
        await self._index.known()
        began = self._clock()
        await self._room.tidy()
        await self._index.flush()
        if saves or await self._saved.is_due():
            await self._threads.writing.run(self.blobs.sweep)
            async with self._saved.turn():
                # Another process may have written it while this one waited for its turn.
                if saves or await self._saved.is_due():
                    await self.records.prune(self._is_kept, self._are_kept)
                    await self._saved.write(began)

    async def _try(self, doing: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreFailed as error:
            self._observer.notify(StoreTroubled(doing, error))
        except Exception as error:  # a bug here must not end the upkeep, nor keep the cache from closing
            self._observer.notify(TaskCrashed("cache upkeep", error))

    async def _save_now(self) -> None:
        await self._tend(saves=True)
