"""What is at rest, file by file, as a scrub sees it (see scrub.Inventory)."""

from __future__ import annotations

import asyncio

from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.routing import Route
from mirror.proxy.scrub import Leftover, Problem, StoredFile
from mirror.store import files
from mirror.store.blobs import OURS
from mirror.store.committed import Committed
from mirror.store.folders import Folders
from mirror.store.index import Index
from mirror.store.records import StoredRecords
from mirror.store.strangers import strangers
from mirror.store.threads import Threads

_PIECE = 4 * 1024 * 1024


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
        """Return the committed files, in the order of their digests."""
        found = await self._threads.run(lambda: sorted(self._committed.files(), key=lambda file: str(file[0])))
        return [StoredFile(digest, size, self._kind(digest)) for digest, size, _ in found]

    def _kind(self, digest: Digest) -> Kind:
        entry = self._index.get(digest)
        return Kind.MANIFEST if entry is not None and entry.is_manifest else Kind.BLOB

    async def examine(self, file: StoredFile, *, fast: bool, bandwidth: int | None) -> Problem | None:
        """Return what is wrong with a file, None if nothing is or if it is gone.

        `fast` looks at its size only; else it is read with at most `bandwidth` bytes a second.
        """
        opened = await self._threads.obtain(lambda: self._folders.of(file.digest).open(file.digest.encoded), _close)
        if opened is None:
            return None
        fd, size = opened
        try:
            known = self._index.get(file.digest)
            if known is not None and known.size != size:
                return Problem.TRUNCATED
            return None if fast or await self._is_right(file.digest, fd, bandwidth) else Problem.DAMAGED
        finally:
            files.close(fd)

    async def _is_right(self, digest: Digest, fd: int, bandwidth: int | None) -> bool:
        hasher = digest.hasher()
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
        return hasher.hexdigest() == digest.encoded

    async def remove(self, digest: Digest) -> None:
        """Remove the file; readers keep it open."""
        await self._committed.remove(digest)

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


def _now() -> float:
    return asyncio.get_running_loop().time()


def _close(opened: tuple[int, int] | None) -> None:
    if opened is not None:
        files.close(opened[0])
