"""The store of one process on a MemoryDisk: blobs, partial files, reading along, passages (see interfaces)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest, Hasher
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.interfaces.fills import FillState, FollowedFile, Sighting
from mirror.proxy.interfaces.upstream import Data
from tests.unit.proxy.doubles import MemoryFile
from tests.unit.proxy.memory_disk import NOTHING_YET, Inode, MemoryDisk, Process
from tests.unit.proxy.memory_passage import MemoryPassage

PATIENCE = 5
"""Looks without news before a follower asks whether there still is a writer."""

MOST_PASSAGES = 16


class MemoryBlob(MemoryFile):
    """A committed blob."""

    def __init__(self, fd: int, opened: Counter[str], doubted: Callable[[], None]) -> None:
        super().__init__(fd, opened)
        self._size = os.fstat(fd).st_size
        self._doubted = doubted

    @property
    def size(self) -> int:
        return self._size

    @property
    def is_whole(self) -> bool:
        return True

    async def sendable(self, offset: int) -> int:
        return max(offset, self._size)

    async def verified(self) -> None:
        pass

    async def doubt(self) -> None:
        self._doubted()


class MemoryPartial:
    """A partial file whose lock this writer has."""

    def __init__(self, digest: Digest, store: MemoryStore, inode: Inode) -> None:
        self._digest = digest
        self._hasher = digest.hasher()
        self._store = store
        self.inode = inode
        self._file = MemoryFile(os.dup(inode.fd), store.opened)
        # What was written but not spoken of is not believed.
        inode.shorten(inode.page.prefix)
        self._hasher.update(inode.data)
        inode.page = replace(NOTHING_YET, prefix=inode.size)
        inode.is_wanted = False
        self.size = inode.size

    async def expect(self, total: int | None) -> bool:
        if total is not None and not self._store.admits(total):
            return False
        try:
            await self._store.call("expect", lambda: self._agree(total))
        except StoreFailed:
            return False
        return True

    def _agree(self, total: int | None) -> None:
        self.inode.page = replace(self.inode.page, total=total, is_agreed=True)

    async def append(self, data: Data) -> None:
        await self._store.call("append", lambda: self.inode.write(bytes(data)), lambda: self._appended(data))

    def _appended(self, data: Data) -> None:
        self._hasher.update(data)
        self.size += len(data)
        self.inode.publish(self.size)

    async def is_wanted(self) -> bool:
        await self._store.call("is_wanted")
        return self.inode.is_wanted

    async def holds(self, offset: int, data: Data) -> bool:
        await self._store.call("holds")
        return os.pread(self.inode.fd, len(data), offset) == data

    async def verified(self) -> bool:
        return self._hasher.hexdigest() == self._digest.encoded

    async def commit(self) -> None:
        assert await self.verified(), "an unverified file was committed"
        await self._store.call("commit", lambda: self.inode.publish(state=FillState.VERIFIED), self._commit)

    def _commit(self) -> None:
        disk = self._store.disk
        disk.committed[self._digest] = self.inode.data
        self._unname()
        self.inode.is_committed = True
        self.inode.publish(state=FillState.COMMITTED)
        self._unlock()

    async def keep(self) -> None:
        await self._store.call("keep", lambda: self.inode.publish(state=FillState.FAILED), self._unlock)

    async def discard(self) -> None:
        await self._store.call("discard", self._discard)

    def _discard(self) -> None:
        self._store.disk.discarded.append(self._digest)
        self.inode.publish(state=FillState.FAILED)
        self._unname()
        self._unlock()

    def _unname(self) -> None:
        partial = self._store.disk.partial
        if partial.get(self._digest) is self.inode:
            del partial[self._digest]

    def _unlock(self) -> None:
        if self.inode.owner is self:
            self.inode.owner = None

    def reader(self) -> MemoryFile:
        if self._file.fileno() < 0:
            raise StoreFailed("the disk refused: the file is closed")
        return MemoryFile(os.dup(self.inode.fd), self._store.opened)

    def continues(self, followed: FollowedFile) -> bool:
        return isinstance(followed, MemoryFollowed) and followed.inode is self.inode

    def spill(self) -> MemoryPassage:
        return self._store.begin_passage(self._digest, self._hasher, self.size)

    async def close(self) -> None:
        self.release()
        await self._store.call("close")

    def release(self) -> None:
        """Give up the file and its lock, as the kernel does for a process that dies."""
        self._unlock()
        self._file.close()


class MemoryFollowed:
    """A partial file that another writes; as on a real disk, it takes a while to notice that nobody does any more."""

    def __init__(self, digest: Digest, store: MemoryStore, inode: Inode) -> None:
        self._digest = digest
        self._store = store
        self.inode = inode
        self._file = MemoryFile(os.dup(inode.fd), store.opened)
        self._last: Sighting | None = None
        self._unchanged = 0
        store.opened["followed"] += 1

    async def look(self) -> Sighting:
        await self._store.call("look")
        page = self.inode.page
        self.inode.is_wanted |= not page.is_agreed
        self._unchanged = self._unchanged + 1 if page == self._last else 0
        self._last = page
        is_written = self._unchanged < PATIENCE or self.inode.owner is not None
        if self.inode.is_committed and self._digest in self._store.disk.committed:
            return Sighting(self.inode.size, self.inode.size, FillState.COMMITTED, is_agreed=True, is_written=False)
        return replace(page, is_written=is_written)

    def reader(self) -> MemoryFile:
        return MemoryFile(os.dup(self.inode.fd), self._store.opened)

    async def spill(self, prefix: int) -> MemoryPassage:
        await self._store.call("spill")
        hasher = self._digest.hasher()
        hasher.update(self.inode.data[:prefix])
        return self._store.begin_passage(self._digest, hasher, prefix)

    async def close(self) -> None:
        self._store.opened["followed"] -= self._file.fileno() >= 0
        self._file.close()
        await self._store.call("close")


class MemoryStore(Process):
    """The blobs on `disk` as one process sees them."""

    def __init__(self, max_size: int = 2**40, disk: MemoryDisk | None = None) -> None:
        self.disk = disk or MemoryDisk()
        self.opened: Counter[str] = Counter()
        self.max_size = max_size
        self._writing: list[MemoryPartial] = []
        self._passages: list[MemoryPassage] = []

    @property
    def open_files(self) -> int:
        """How many files nobody closed yet."""
        return self.opened["files"]

    @property
    def most_in_passing(self) -> int:
        """How many bytes one passage had in memory at most."""
        return max((passage.most for passage in self._passages), default=0)

    @property
    def is_writing(self) -> bool:
        """Tell whether this process has the lock of a partial file."""
        return any(partial.inode.owner is partial for partial in self._writing)

    @property
    def is_following(self) -> bool:
        """Tell whether this process reads along with another."""
        return self.opened["followed"] > 0

    @property
    def committed(self) -> dict[Digest, bytes]:
        return self.disk.committed

    @property
    def failing(self) -> set[str]:
        return self.disk.failing

    async def call(self, doing: str, *actions: Callable[[], None]) -> None:
        """Do something on the disk, as in a thread."""
        await self.disk.call(self, doing, *(actions or (lambda: None,)))

    def kill(self) -> None:
        """End this process at once: nothing it does reaches the disk any more, and its locks are free."""
        self.is_dead = True
        for partial in self._writing:
            partial.release()

    async def open(self, digest: Digest) -> Body | None:
        opened: list[MemoryBlob] = []
        try:
            await self.call("open", lambda: opened.extend(self._open(digest)))
        except BaseException:
            for blob in opened:
                blob.close()
            raise
        return opened[0] if opened else None

    def at_hand(self, digest: Digest) -> Body | None:
        opened = self._open(digest)
        return opened[0] if opened else None

    def _open(self, digest: Digest) -> list[MemoryBlob]:
        if digest not in self.committed:
            return []
        fd = os.memfd_create("blob")
        os.write(fd, self.committed[digest])
        return [MemoryBlob(fd, self.opened, lambda: self._doubt(digest))]

    def _doubt(self, digest: Digest) -> None:
        self.committed.pop(digest, None)

    async def claim(self, digest: Digest) -> MemoryPartial | None:
        claimed: list[MemoryPartial | None] = []
        try:
            await self.call("claim", lambda: claimed.append(self.claim_now(digest)))
        except BaseException:
            for partial in filter(None, claimed):
                partial.release()
            raise
        return claimed[0]

    def claim_now(self, digest: Digest) -> MemoryPartial | None:
        """Do what `claim` does, without a turn for the others."""
        inode = self.disk.partial.get(digest) or Inode()
        if inode.owner is not None:
            return None
        if digest in self.committed:
            self.disk.partial.pop(digest, None)
            return None
        self.disk.partial[digest] = inode
        self.disk.claimed += 1
        partial = MemoryPartial(digest, self, inode)
        inode.owner = partial
        self._writing.append(partial)
        return partial

    async def follow(self, digest: Digest) -> MemoryFollowed | None:
        await self.call("follow")
        inode = self.disk.partial.get(digest)
        return None if inode is None else MemoryFollowed(digest, self, inode)

    def passage(self, digest: Digest) -> MemoryPassage:
        return self.begin_passage(digest, digest.hasher(), 0)

    def begin_passage(self, digest: Digest, hasher: Hasher, start: int) -> MemoryPassage:
        """Return a new passage; raises StoreFailed if there are too many."""
        if self.opened["passages"] >= MOST_PASSAGES:
            raise StoreFailed("the disk takes nothing, and too much passes through memory already")
        passage = MemoryPassage(digest, hasher, start, self.call, self.opened)
        self._passages.append(passage)
        return passage

    def admits(self, size: int) -> bool:
        return size <= self.max_size
