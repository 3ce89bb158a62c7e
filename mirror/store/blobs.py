"""Blobs at rest and on their way there: `blobs/`, `partial/` and `run/` (see BlobStore)."""

from __future__ import annotations

import secrets
import time

from mirror.oci.digest import Digest
from mirror.store import drafts, files
from mirror.store.committed import Committed
from mirror.store.folders import Folders
from mirror.store.followed import Followed
from mirror.store.index import Index
from mirror.store.partial import Partial, PartialEvents
from mirror.store.passage import PassageFile, Passages
from mirror.store.place import OURS, Place
from mirror.store.reading import StoredBlob
from mirror.store.room import Room
from mirror.store.threads import FileThreads

LEFT_SECONDS = 24 * 3600.0
"""How long a partial file that nobody writes waits for somebody to go on with it."""


class Blobs:
    """All that the store does with the bytes of blobs and manifests."""

    def __init__(self, committed: Committed, folders: Folders, index: Index, room: Room, threads: FileThreads) -> None:
        self._committed = committed
        self._folders = folders
        self._index = index
        self._room = room
        self._threads = threads
        self._passages = Passages(threads.writing)

    async def open(self, digest: Digest) -> StoredBlob | None:
        """Return the committed blob under a lease, or None."""
        return await self._committed.open(digest)

    def at_hand(self, digest: Digest) -> StoredBlob | None:
        """Return the committed blob under a lease, if it opens without a wait and has the size that is known."""
        return self._committed.at_hand(digest)

    async def remove(self, digest: Digest) -> None:
        """Remove the committed file; readers keep it open."""
        await self._committed.remove(digest)

    async def purge(self, digest: Digest) -> int | None:
        """Remove the committed file, and return how many bytes it had; None if there is none."""
        size = await self._threads.writing.run(self._committed.size, digest)
        if size is not None:
            await self._committed.remove(digest)
        return size

    def drop_unfinished(self, digest: Digest) -> bool:
        """Remove what is left of a fill; False if one is under way. Blocks."""
        name = _name(digest)
        if not self._folders.partial.exists(name):
            return True
        fd = self._folders.partial.claim(name)
        if fd is None:
            return False
        try:
            self._folders.run.remove(name)
            self._folders.partial.remove(name)
        finally:
            files.close(fd)
        return True

    def admits(self, size: int) -> bool:
        """Tell whether a file of this size is kept at all."""
        return self._room.limits.admits(size)

    async def claim(self, digest: Digest) -> Partial | None:
        """Return the partial file of this digest, to go on with; None if it has a writer, or was just committed."""
        name = _name(digest) if self._folders.has_locks else _private(digest)
        partial = self._new(digest, name, is_manifest=False)
        try:
            if await partial.claim():
                if not await self._threads.reading.run(self._committed.has, digest):
                    return partial
                await partial.discard()
        except BaseException:
            await partial.close()
            raise
        await partial.close()
        return None

    async def turn(self, digest: Digest) -> Partial | None:
        """Return the empty partial file of a manifest, for its lock: other processes wait; None if one has it."""
        partial = self._new(digest, _name(digest), is_manifest=True)
        try:
            if await partial.claim():
                return partial
        except BaseException:
            await partial.close()
            raise
        await partial.close()
        return None

    async def begin(self, digest: Digest) -> Partial:
        """Return a new partial file for a manifest, private to this writer: it is written in one go."""
        partial = self._new(digest, _private(digest), is_manifest=True)
        try:
            is_claimed = False
            while not is_claimed:
                # Whoever sweeps may hold it for a moment.
                is_claimed = await partial.claim()
        except BaseException:
            await partial.close()
            raise
        return partial

    def _new(self, digest: Digest, name: str, *, is_manifest: bool) -> Partial:
        # Whoever reads along keeps the file from being evicted once it is committed.
        self._committed.lease(digest)
        events = PartialEvents(
            committed=lambda size: self._index.add(digest, size, is_manifest=is_manifest),
            grown=self._room.make_room,
            closed=lambda: self._committed.release(digest),
        )
        place = self._place(digest, name)
        return Partial(digest, place, self._room, self._passages, self._threads, events)

    def _place(self, digest: Digest, name: str) -> Place:
        return Place(name, self._folders.partial, self._folders.run, self._folders.of(digest))

    async def follow(self, digest: Digest) -> Followed | None:
        """Return the partial file that another writes, None if there is none any more."""
        name = _name(digest)
        opened = await self._threads.reading.obtain(lambda: self._folders.partial.open(name), files.close_opened)
        if opened is None:
            return None
        return Followed(opened[0], digest, self._place(digest, name), self._passages, self._threads.reading)

    def passage(self, digest: Digest) -> PassageFile:
        """Return a passage for a whole blob; raises StoreFailed if there are too many."""
        return self._passages.begin(digest, digest.hasher(), 0)

    def sweep(self) -> None:
        """Remove what nobody will go on with: private and empty files without a writer, old ones, pages; blocks."""
        names = {
            entry.name: entry for folder in (self._folders.run, self._folders.partial) for entry in folder.entries()
        }
        for name, entry in names.items():
            if match := OURS.fullmatch(name):
                left = time.time() - entry.modified - self._room.absent(entry.modified)
                self._sweep(name, is_private=match[2] is not None, is_old=left > LEFT_SECONDS)
        for folder in (self._folders.run, self._folders.partial):
            drafts.sweep(folder)

    def _sweep(self, name: str, *, is_private: bool, is_old: bool) -> None:
        fd = self._folders.partial.claim(name)
        if fd is None:
            return
        try:
            if is_old or (self._folders.has_locks and (is_private or files.identity(fd)[2] == 0)):
                self._folders.run.remove(name)
                self._folders.partial.remove(name)
        finally:
            files.close(fd)

    def is_unfinished(self, digest: Digest) -> bool:
        """Tell whether there is a partial file of this digest; blocks."""
        return self._folders.partial.exists(_name(digest))

    def writable(self) -> bool:
        """Tell whether the disk takes new files; blocks."""
        return drafts.is_writable(self._folders.partial)


def _name(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.encoded}"


def _private(digest: Digest) -> str:
    return f"{_name(digest)}.{secrets.token_hex(4)}"
