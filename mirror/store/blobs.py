"""Committed blobs: plain read-only files named by their digest. A hit is a file that opens."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from mirror.errors import InvalidDigest, StoreFailed
from mirror.oci.digest import Digest
from mirror.store.files import Folder
from mirror.store.index import Index
from mirror.store.partial import Partial, PartialEvents
from mirror.store.reading import StoredBlob
from mirror.store.threads import FileThreads

ALGORITHMS = ("sha256", "sha512")
_OURS = re.compile(r"sha(256|512)-[0-9a-f]+(\.[0-9]+)?")


class Blobs:
    """The folders `blobs/` and `partial/` (see interfaces.BlobStore); `grown` is called after every commit."""

    def __init__(
        self, path: Path, index: Index, threads: FileThreads, max_size: int, grown: Callable[[], Awaitable[None]]
    ) -> None:
        self._path = path
        self._index = index
        self._threads = threads
        self._max_size = max_size
        self._grown = grown
        self._leases: Counter[Digest] = Counter()
        self._folders: dict[str, Folder] = {}
        self._writing: set[str] = set()
        self._serial = itertools.count(1)
        self._removing = 0
        self._removals = 0

    async def start(self) -> None:
        """Open the folders and sweep what unfinished fills left behind."""
        await self._threads.reading.run(self._open_folders)

    def _open_folders(self) -> None:
        self._partial = Folder(self._path / "partial")
        for leftover in list(self._partial.entries()):
            if _OURS.fullmatch(leftover.name):
                self._partial.remove(leftover.name)
        for algorithm in ALGORITHMS:
            self._folders[algorithm] = Folder(self._path / "blobs" / algorithm)

    def files(self) -> Iterator[tuple[Digest, int, float]]:
        """Yield digest, size and time of writing of every committed file; blocks, so call it in a thread."""
        for algorithm, folder in self._folders.items():
            for entry in folder.entries():
                try:
                    yield Digest(algorithm, entry.name), entry.size, entry.modified
                except InvalidDigest:
                    continue

    async def open(self, digest: Digest) -> StoredBlob | None:
        """Return the blob under a lease, or None; only here does a file become a hit."""
        self._leases[digest] += 1
        before, removals = self._index.get(digest), self._removals
        try:
            opened = await self._threads.reading.obtain(
                lambda: self._folders[digest.algorithm].open(digest.encoded), _close
            )
        except BaseException:
            self._release(digest)
            raise
        if opened is None:
            self._release(digest)
            if self._index.get(digest) is before:
                # Not so if it was committed while we looked.
                self._index.remove(digest)
            return None
        blob = StoredBlob(*opened, self._threads.reading, lambda: self._release(digest))
        return blob if await self._is_whole(digest, blob, removals) else None

    async def _is_whole(self, digest: Digest, blob: StoredBlob, removals: int) -> bool:
        known = self._index.get(digest)
        if known is not None and known.size != blob.size:
            # Cut or grown behind our back; whatever it is now, it is not the blob.
            blob.close()
            await self.remove(digest)
            return False
        if known is None and not self._removing and self._removals == removals:
            # Put there by somebody else; unless it was removed while we looked, it counts from now on.
            self._index.add(digest, blob.size, is_manifest=False)
        self._index.touch(digest)
        return True

    async def begin(self, digest: Digest, *, is_manifest: bool = False) -> Partial:
        """Return a new partial file, which adds itself to the index when it is committed."""
        name = self._free_name(digest)
        # Whoever reads along keeps the file from being evicted once it is committed.
        self._leases[digest] += 1
        self._writing.add(name)

        def closed() -> None:
            self._writing.discard(name)
            self._release(digest)

        events = PartialEvents(
            committed=lambda size: self._index.add(digest, size, is_manifest=is_manifest),
            grown=self._grown,
            closed=closed,
        )
        folders = self._partial, self._folders[digest.algorithm]
        partial = Partial(name, digest, folders, self._threads, events)
        try:
            await partial.create()
        except BaseException:
            await partial.close()
            raise
        return partial

    def _free_name(self, digest: Digest) -> str:
        """Return the digest's name in `partial/`, or a private one while another writer has that."""
        name = f"{digest.algorithm}-{digest.encoded}"
        return name if name not in self._writing else f"{name}.{next(self._serial)}"

    def admits(self, size: int) -> bool:
        """Tell whether a file of this size fits into the cache at all."""
        return size <= self._max_size

    def is_leased(self, digest: Digest) -> bool:
        """Tell whether the blob is being read."""
        return digest in self._leases

    async def remove(self, digest: Digest) -> None:
        """Remove the file: first its row, then its name. Readers keep it open."""
        entry = self._index.get(digest)
        self._index.remove(digest)
        self._removing += 1
        try:
            await self._threads.writing.run(self._folders[digest.algorithm].remove, digest.encoded)
        except StoreFailed:
            if entry is not None:
                self._index.add(digest, entry.size, is_manifest=entry.is_manifest)
            raise
        finally:
            self._removing -= 1
            self._removals += 1

    def readable(self) -> bool:
        """Tell whether blobs can be read; blocks, so call it in a thread."""
        return all(folder.readable() for folder in self._folders.values())

    def writable(self) -> bool:
        """Tell whether the disk takes new files; blocks, so call it in a thread, once at a time."""
        return self._partial.writable()

    def close(self) -> None:
        """Let go of the folders."""
        for folder in (*self._folders.values(), self._partial):
            folder.close()

    def _release(self, digest: Digest) -> None:
        self._leases[digest] -= 1
        if not self._leases[digest]:
            del self._leases[digest]


def _close(opened: tuple[int, int] | None) -> None:
    if opened is not None:
        os.close(opened[0])
