"""The cache folder as a whole: opened in order, kept in order while it runs, closed in order."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from pathlib import Path

from mirror.errors import ConfigError, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events import Observer, StoreTroubled, TaskCrashed
from mirror.store import layout
from mirror.store.blobs import Blobs
from mirror.store.eviction import Eviction
from mirror.store.files import Folder
from mirror.store.index import Index, IndexEntry
from mirror.store.manifests import StoredManifests
from mirror.store.records import StoredRecords
from mirror.store.rows import Rows
from mirror.store.threads import FileThreads

_UPKEEP_SECONDS = 5.0
_SAVE_SECONDS = 60.0


class Cache:
    """Everything at rest: `blobs`, `manifests` and `records`, within `max_size` bytes.

    Any folder will do: an empty one, one whose index is gone, one left behind by a crash.
    """

    def __init__(self, path: Path, max_size: int, observer: Observer) -> None:
        path = path.resolve()
        self._path = path
        self._observer = observer
        self._threads = FileThreads()
        self._index_rows = Rows(path / "index", observer)
        self._record_rows = Rows(path / "records", observer)
        self._index = Index(self._index_rows, time.time)
        self.blobs = Blobs(path, self._index, self._threads, max_size, self._make_room)
        self.records = StoredRecords(self._record_rows)
        self.manifests = StoredManifests(self.blobs, self._index, self.records, self._threads.reading)
        self._eviction = Eviction(self.blobs, self._index, max_size, observer)
        self._probing = asyncio.Lock()
        self._upkeep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the folder and bring the indexes in line with its files; raises ConfigError if it cannot be used."""
        try:
            if self._path.exists() and not self._path.is_dir():
                raise ConfigError("cache.path", f"{self._path} is not a folder")
            self._folder = await self._threads.reading.run(Folder, self._path)
            if not await self._threads.reading.run(self._folder.lock):
                raise ConfigError("cache.path", f"{self._path} is in use by another mirror")
            await self._threads.writing.run(self._folder.replace, "oci-layout", layout.LAYOUT)
            await self.blobs.start()
        except StoreFailed as error:
            raise ConfigError("cache.path", f"{self._path}: {error}") from error
        await self._index_rows.open()
        await self._record_rows.open()
        await self._restore()
        await self._eviction.make_room()
        self._upkeep = asyncio.create_task(self._keep_up(), name="cache upkeep")

    async def readable(self) -> bool:
        """Tell whether blobs can be read."""
        return await self._threads.reading.run(self.blobs.readable)

    async def writable(self) -> bool:
        """Tell whether the disk takes new files."""
        async with self._probing:
            return await self._threads.writing.run(self.blobs.writable)

    async def stop(self) -> None:
        """Save the indexes and close everything; nothing may be in use any more."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])
            await self._tend(save=True)
        await self._index_rows.close()
        await self._record_rows.close()
        self.blobs.close()
        self._folder.close()
        self._threads.close()

    async def _restore(self) -> None:
        rows = await self.records.rows()
        if not rows:
            saved = await self._threads.reading.run(self._folder.read, "index.json")
            rows = layout.parse(saved or b"")
            await self.records.restore(rows)
        manifests = {key.removeprefix("type ") for key in rows if key.startswith("type ")}
        found = await self._threads.reading.run(lambda: list(self.blobs.files()))
        damaged = await self._index.load(
            (digest, IndexEntry(size, modified, str(digest) in manifests)) for digest, size, modified in found
        )
        for digest in damaged:
            with suppress(StoreFailed):
                # Whoever asks for it will not get it either way: it is not as long as its row says.
                await self.blobs.remove(digest)

    def _is_kept(self, digest: Digest) -> bool:
        return digest in self._index or self.blobs.is_leased(digest)

    async def _make_room(self) -> None:
        await self._eviction.make_room()

    async def _keep_up(self) -> None:
        await self._tend(save=True)
        saved_at = -math.inf
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            due = self.records.changed and time.monotonic() - saved_at >= _SAVE_SECONDS
            await self._tend(save=due)
            saved_at = time.monotonic() if due else saved_at

    async def _tend(self, *, save: bool) -> None:
        try:
            await self._eviction.make_room()
            await self._index.flush()
            if save:
                await self._save()
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("upkeep", error))
        except Exception as error:  # a bug here must not end the upkeep, nor keep the cache from closing
            self._observer.notify(TaskCrashed("cache upkeep", error))

    async def _save(self) -> None:
        self.records.changed = False
        await self.records.prune(self._is_kept)
        rows = await self.records.rows()
        if not rows and await self._threads.reading.run(self._folder.read, "index.json") is not None:
            # Nothing is known, or nothing could be read; either way the copy there is can only be better.
            return
        document = await self._threads.writing.run(layout.render, rows, self._index)
        await self._threads.writing.run(self._folder.replace, "index.json", document)
