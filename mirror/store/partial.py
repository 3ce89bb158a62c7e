"""A partial file: written and hashed by one fill on this machine, read by anybody, and renamed when verified.

Its lock says who writes it, its page in `run/` how far that one is. When the writer dies, the kernel frees the lock and
the next one goes on with the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.interfaces.fills import FillState
from mirror.proxy.interfaces.upstream import Data
from mirror.store import files, pages
from mirror.store.followed import Followed
from mirror.store.hashing import take_in
from mirror.store.pages import Page
from mirror.store.passage import PassageFile, Passages
from mirror.store.place import Place
from mirror.store.reading import ReadableFile
from mirror.store.room import Room
from mirror.store.threads import FileThreads

STEP = 64 * 1024 * 1024
"""Bytes that are reserved at once for a blob whose length nobody knows."""


@dataclass(frozen=True, slots=True)
class PartialEvents:
    """What the owner of a partial file wants to be told, in the order in which it happens."""

    committed: Callable[[int], None]
    """The file, of this size, has its name among the blobs."""
    grown: Callable[[], Awaitable[None]]
    """The cache is larger now, and whoever made it so can wait until there is room again."""
    closed: Callable[[], None]
    """The writer has let go of the file."""


class Partial:
    """The file of a fill in progress (see PartialFile)."""

    def __init__(
        self, digest: Digest, place: Place, room: Room, passages: Passages, threads: FileThreads, events: PartialEvents
    ) -> None:
        self._digest = digest
        self._place = place
        self._room = room
        self._passages = passages
        self._threads = threads
        self._events = events
        self._hasher = digest.hasher()
        self._lane = threads.hashing.next()
        self._hashing: Future[None] = Future()
        self._hashing.set_result(None)
        self._fd = -1
        self._page_fd = -1
        self._page = Page(0)
        self._is_named = False
        self._closed = False
        self.size = 0

    async def claim(self) -> bool:
        """Become the writer, behind the bytes that an earlier one left; False if there is a writer."""
        claimed = await self._threads.writing.run(self._claim)
        if claimed:
            await self._hash_what_is_left(claimed)
        return claimed is not None

    def _claim(self) -> int | None:
        """Lock the file and return how many bytes of it count, as far as its last writer told; None if it has one."""
        place = self._place
        fd = place.partial.claim(place.name)
        if fd is None:
            return None
        self._fd = fd
        self._page_fd = place.run.open_or_create(place.name)
        files.shorten(self._page_fd, pages.SIZE)
        _, inode, size = files.identity(fd)
        left = pages.unpack(files.read_at(self._page_fd, pages.SIZE, 0))
        claimed = min(size, left.prefix) if left is not None and left.inode == inode else size
        files.shorten(fd, claimed)
        # Before the hashing: what the page says until then is a dead writer's word, and so is its upstream's yes.
        self._page = Page(inode, claimed)
        self._publish()
        return claimed

    async def _hash_what_is_left(self, claimed: int) -> None:
        try:
            self.size = await take_in(self._fd, self._hasher, claimed, self._threads.writing)
        except StoreFailed as error:
            if files.is_rotten(error.__cause__):
                # What the disk has lost would be in everybody's way for as long as it stays.
                with suppress(StoreFailed):
                    await self.discard()
            raise
        self._page = replace(self._page, prefix=self.size)
        await self._threads.writing.run(self._publish)

    async def expect(self, total: int | None) -> bool:
        """Reserve room for `total` bytes, or for some if it is None; False if they cannot be kept."""
        wanted = self._room.limits.guess(self.size, STEP) if total is None else total
        return await self._room.reserve(self._place.name, self.size, wanted, lambda: self._agreed(total, wanted))

    def _agreed(self, total: int | None, reserved: int) -> None:
        self._page = replace(self._page, total=total, reserved=reserved, is_agreed=True)
        self._publish()

    async def append(self, data: Data) -> None:
        """Write `data` at the end and say so; it is hashed while the next is written."""
        is_unmeasured = self._page.is_agreed and self._page.total is None
        if is_unmeasured and self.size + len(data) > self._page.reserved and not await self.expect(None):
            await self._hashed()
            raise StoreFailed("the cache has no room for more of a blob whose length nobody told")
        await self._threads.writing.run(self._append, data)

    def _append(self, data: Data) -> None:
        before = self._hashing
        try:
            files.write_at(self._fd, data, self.size)
            # Not before: what the disk does not take is hashed by whoever takes it.
            self._hashing = self._lane.begin(self._hasher.update, data)
        finally:
            # So far and no further behind.
            before.result()
        self.size += len(data)
        self._page = replace(self._page, prefix=self.size)
        self._publish()

    async def is_wanted(self) -> bool:
        """Tell whether somebody in another process waits for upstream to agree."""
        mark = await self._threads.reading.run(files.read_at, self._page_fd, len(pages.MARK), pages.SIZE)
        return mark == pages.MARK

    async def holds(self, offset: int, data: Data) -> bool:
        """Tell whether the file has `data` at `offset`."""
        return await self._threads.reading.run(files.read_at, self._fd, len(data), offset) == data

    async def verified(self) -> bool:
        """Tell whether the bytes so far have the digest."""
        await self._hashed()
        return self._hasher.hexdigest() == self._digest.encoded

    async def _hashed(self) -> None:
        await self._threads.writing.run(self._hashing.result)

    async def commit(self) -> None:
        """Make the file durable and read-only, and give it its name among the blobs."""
        if not await self.verified():
            raise StoreFailed("an unverified file cannot be committed")
        try:
            await self._threads.writing.run(self._commit)
        finally:
            # Also when cancelled meanwhile: the call ran to its end.
            if self._is_named:
                self._events.committed(self.size)
            self._room.landed(self._place.name)
        await self._events.grown()

    def _commit(self) -> None:
        if files.identity(self._fd)[2] != self.size:
            raise OSError("somebody else wrote to the file")
        self._publish(FillState.VERIFIED)
        files.seal(self._fd)
        place = self._place
        place.run.remove(place.name)
        self._room.lands(place.name, self.size)
        place.partial.move(place.name, self._fd, place.target, self._digest.encoded)
        self._is_named = True
        self._publish(FillState.COMMITTED)
        files.unlock(self._fd)

    async def keep(self) -> None:
        """Leave the file to whoever goes on with it later; who follows it is told that nothing more comes."""
        await self._threads.writing.run(self._keep)

    def _keep(self) -> None:
        self._publish(FillState.FAILED)
        files.unlock(self._fd)

    async def discard(self) -> None:
        """Take the name away; readers keep the file open."""
        await self._threads.writing.run(self._discard)

    def _discard(self) -> None:
        if self._page.state is FillState.WRITING:
            # Verified bytes are right, kept or not: whoever reads along may have them.
            self._publish(FillState.FAILED)
        place = self._place
        if place.partial.has(place.name, self._fd):
            # The page first: with the file goes the lock on the name, and the page may be the next writer's.
            place.run.remove(place.name)
            place.partial.remove(place.name)
        elif not self._is_named and place.target.has(self._digest.encoded, self._fd):
            # Renamed, but the disk does not say that this will last.
            place.target.remove(self._digest.encoded)
        files.unlock(self._fd)

    def reader(self) -> ReadableFile:
        """Return the file open for reading, independent of this writer."""
        return ReadableFile.duplicate_of(self._fd, self._threads.reading)

    def continues(self, followed: object) -> bool:
        """Tell whether this is the file that was followed."""
        return isinstance(followed, Followed) and followed.identity()[:2] == files.identity(self._fd)[:2]

    def spill(self) -> PassageFile:
        """Return a passage for what comes behind the bytes of this file."""
        return self._passages.begin(self._digest, self._hasher, self.size)

    async def close(self) -> None:
        """Close the writer's descriptors."""
        if self._closed:
            return
        self._closed = True
        self._events.closed()
        await self._threads.writing.run(self._close)

    def _close(self) -> None:
        if self._fd >= 0:
            files.unlock(self._fd)
        for fd in (self._fd, self._page_fd):
            if fd >= 0:
                files.close(fd)
        self._fd = self._page_fd = -1

    def _publish(self, state: FillState = FillState.WRITING) -> None:
        self._page = replace(self._page, state=state)
        # Others only see less of it then; the bytes themselves are where they belong.
        with suppress(OSError):
            files.write_at(self._page_fd, self._page.pack(), 0)
