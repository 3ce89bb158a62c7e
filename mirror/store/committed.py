"""Committed files: plain, read-only, named by their digest. A hit is a file that opens."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator
from contextlib import suppress

from mirror.errors import InvalidDigest, StoreFailed
from mirror.oci.digest import Digest
from mirror.store import files
from mirror.store.entries import IndexEntry
from mirror.store.folders import Folders
from mirror.store.hashing import has_digest
from mirror.store.index import Index
from mirror.store.reading import StoredBlob
from mirror.store.slices import in_slices, in_turns
from mirror.store.threads import FileThreads

_MERGE_SECONDS = 30.0
# How often the recency that other processes note is read; which files there are is looked up every time.


class Committed:
    """The folders under `blobs/`, and who reads what of them."""

    def __init__(self, folders: Folders, index: Index, threads: FileThreads) -> None:
        self.index = index
        self._folders = folders
        self._threads = threads
        self._leases: Counter[Digest] = Counter()
        self._removing = 0
        self._removals = 0
        self._merged_at = time.monotonic()
        self._stamps: list[int | None] = []
        self._refreshing = asyncio.Lock()

    def files(self) -> Iterator[tuple[Digest, int, float]]:
        """Yield digest, size and time of writing of every committed file; blocks."""
        for algorithm, folder in self._folders.blobs.items():
            for entry in folder.entries():
                try:
                    yield Digest(algorithm, entry.name), entry.size, entry.modified
                except InvalidDigest:
                    continue

    def has(self, digest: Digest) -> bool:
        """Tell whether there is a file of this digest; blocks."""
        return self._folders.of(digest).exists(digest.encoded)

    def size(self, digest: Digest) -> int | None:
        """Return how many bytes the file of this digest has, None if there is none; blocks."""
        folder = self._folders.of(digest)
        return folder.size(digest.encoded) if folder.exists(digest.encoded) else None

    async def open(self, digest: Digest) -> StoredBlob | None:
        """Return the blob under a lease, or None; only here does a file become a hit."""
        try:
            return await self._open(digest)
        except StoreFailed as error:
            if not files.is_rotten(error.__cause__):
                raise
            await self._doubt(digest)
            return None

    async def _open(self, digest: Digest) -> StoredBlob | None:
        self.lease(digest)
        before, removals = self.index.get(digest), self._removals
        try:
            noted = before if self.index.is_whole else await self.index.find(digest)
            opened = await self._obtain(digest)
        except BaseException:
            self.release(digest)
            raise
        if opened is None:
            self.release(digest)
            if self.index.get(digest) is before:
                # Not so if it was committed while we looked.
                self.index.remove(digest)
            return None
        released = functools.partial(self.release, digest)
        blob = StoredBlob(*opened, self._threads.reading, released, functools.partial(self._doubt, digest))
        try:
            return blob if await self._is_whole(digest, blob, noted, removals) else None
        except BaseException:
            blob.close()
            raise

    def at_hand(self, digest: Digest) -> StoredBlob | None:
        """Return the blob under a lease, if it opens without a wait and has the size that is known."""
        known = self.index.get(digest)
        opened = None if known is None else self._open_at_once(digest)
        if known is None or opened is None:
            return None
        blob = self._leased(digest, opened)
        if blob.size != known.size:
            blob.close()
            return None
        self.index.touch(digest)
        return blob

    def _open_at_once(self, digest: Digest) -> tuple[int, int] | None:
        # What goes wrong is found out, and told, where it can be waited for.
        with suppress(OSError):
            return self._folders.of(digest).open_at_once(digest.encoded)
        return None

    def _leased(self, digest: Digest, opened: tuple[int, int]) -> StoredBlob:
        self.lease(digest)
        released = functools.partial(self.release, digest)
        return StoredBlob(*opened, self._threads.reading, released, functools.partial(self._doubt, digest))

    async def _obtain(self, digest: Digest) -> tuple[int, int] | None:
        folder = self._folders.of(digest)
        # What else goes wrong is found out, and told, in the thread.
        with suppress(OSError):
            return folder.open_at_once(digest.encoded)
        return await self._threads.reading.obtain(lambda: folder.open(digest.encoded), files.close_opened)

    async def _is_whole(self, digest: Digest, blob: StoredBlob, noted: IndexEntry | None, removals: int) -> bool:
        is_known = digest in self.index
        known = self.index.get(digest) or (None if self.index.is_whole else noted)
        if known is not None and known.size != blob.size:
            # Cut or grown behind our back, or mended by another process since.
            if not await has_digest(blob.fileno(), blob.size, digest, self._threads.reading):
                blob.close()
                await self.remove(digest)
                return False
            self.index.add(digest, blob.size, is_manifest=known.is_manifest)
        elif not is_known and not self._removing and self._removals == removals:
            # Put there by somebody else; unless it was removed while we looked, it counts from now on.
            self.index.add(digest, blob.size, is_manifest=known is not None and known.is_manifest)
        self.index.touch(digest)
        return True

    async def _doubt(self, digest: Digest) -> None:
        with suppress(StoreFailed):
            await self.remove(digest)

    def lease(self, digest: Digest) -> None:
        """Keep the file from being evicted until `release`."""
        self._leases[digest] += 1

    def release(self, digest: Digest) -> None:
        """Give one lease back."""
        self._leases[digest] -= 1
        if not self._leases[digest]:
            del self._leases[digest]

    def is_leased(self, digest: Digest) -> bool:
        """Tell whether the blob is being read."""
        return digest in self._leases

    async def remove(self, digest: Digest) -> None:
        """Remove the file: first its row, then its name. Readers keep it open."""
        entry = await self.index.find(digest)
        self.index.remove(digest)
        self._removing += 1
        try:
            await self._threads.writing.run(self._folders.of(digest).remove, digest.encoded)
        except StoreFailed:
            if entry is not None:
                self.index.add(digest, entry.size, is_manifest=entry.is_manifest)
            raise
        finally:
            self._removing -= 1
            self._removals += 1

    async def look_through(self, manifests: Collection[str]) -> None:
        """Learn of all files, beside whatever else is done; raises StoreFailed.

        `manifests` are the digests of those that are known to be some, should their rows be lost.
        """
        self._stamps = [folder.changed_at() for folder in self._folders.blobs.values()]
        await self.index.load(self.files(), manifests, self._threads.reading)
        self._merged_at = time.monotonic()

    async def refresh(self, *, at_once: bool = False) -> None:
        """Learn what other processes committed and removed since the last time; now and then also what they used.

        `at_once` is now.
        """
        async with self._refreshing:
            await self._refresh(at_once=at_once)

    async def _refresh(self, *, at_once: bool) -> None:
        now = time.monotonic()
        merges = at_once or now - self._merged_at >= _MERGE_SECONDS
        stamps = [folder.changed_at() for folder in self._folders.blobs.values()]
        if not merges and None not in stamps and stamps == self._stamps:
            return
        self._stamps = stamps
        self.index.watch()
        rows = await self.index.rows() if merges else {}
        found: dict[Digest, IndexEntry] = {}
        # Somebody may be waiting for this.
        await in_slices(self._list(found), self._threads.reading, pause=0.0)
        await in_turns(self.index.reconcile(found, rows))
        self._merged_at = now if merges else self._merged_at

    def _list(self, found: dict[Digest, IndexEntry]) -> Generator[None]:
        for digest, size, modified in self.files():
            found[digest] = IndexEntry(size, modified, is_manifest=False)
            yield

    def readable(self) -> bool:
        """Tell whether blobs can be read; blocks."""
        return all(folder.readable() for folder in self._folders.blobs.values())
