"""What is at rest, file by file, as a scrub sees it (see scrub.Inventory)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.routing import Route
from mirror.proxy.scrubbing.scrub import Leftover, StoredFile
from mirror.store.committed import Committed
from mirror.store.examination import Examination
from mirror.store.folders import Folders
from mirror.store.index import Index
from mirror.store.place import OURS
from mirror.store.records import StoredRecords
from mirror.store.strangers import strangers
from mirror.store.threads import Threads


class StoredInventory:
    """The committed files, and what else is in the folder; nothing here counts as use."""

    def __init__(
        self, folders: Folders, committed: Committed, index: Index, records: StoredRecords, threads: Threads
    ) -> None:
        self._folders = folders
        self._committed = committed
        self._index = index
        self._records = records
        self._threads = threads

    async def files(self) -> list[StoredFile]:
        """Return the committed files, in the order of their digests; raises StoreFailed."""
        await self._index.known()
        found = await self._threads.run(lambda: sorted(self._committed.files(), key=lambda file: str(file[0])))
        return [StoredFile(digest, size, self._kind(digest)) for digest, size, _ in found]

    def _kind(self, digest: Digest) -> Kind:
        entry = self._index.get(digest)
        return Kind.MANIFEST if entry is not None and entry.is_manifest else Kind.BLOB

    @asynccontextmanager
    async def examine(self, file: StoredFile, *, fast: bool, bandwidth: int | None) -> AsyncIterator[Examination]:
        """Give what is found of a file, while it is held open.

        `fast` looks at its size only; else it is read with at most `bandwidth` bytes a second.
        """
        examination = Examination(file, self._folders, self._committed, self._index, self._threads)
        try:
            await examination.run(fast=fast, bandwidth=bandwidth)
            yield examination
        finally:
            examination.close()

    async def strangers(self) -> list[str]:
        """Return the paths in the cache folder of what is not the mirror's."""
        return await self._threads.run(lambda: sorted(strangers(self._folders)))

    async def unfinished(self) -> list[Leftover]:
        """Return the partial files."""
        return await self._threads.run(self._unfinished)

    def _unfinished(self) -> list[Leftover]:
        partial = self._folders.partial
        found = sorted(partial.entries(), key=lambda entry: entry.name)
        return [
            Leftover(entry.name, entry.size, is_written=partial.is_locked(entry.name))
            for entry in found
            if OURS.fullmatch(entry.name)
        ]

    async def routes(self, digest: Digest) -> list[Route]:
        """Return the repositories that may serve the digest."""
        return await self._records.routes(digest)
