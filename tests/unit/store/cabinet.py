"""A store on a real disk, without the cache around it. Two of them on one folder are as good as two processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mirror.oci.digest import Digest
from mirror.store.blobs import Blobs
from mirror.store.committed import Committed
from mirror.store.contents import StoredContents
from mirror.store.eviction import Eviction
from mirror.store.folders import Folders
from mirror.store.followed import Followed
from mirror.store.held import Held
from mirror.store.index import Index
from mirror.store.limits import Limits
from mirror.store.manifests import StoredManifests
from mirror.store.partial import Partial
from mirror.store.pins import StoredPins
from mirror.store.purges import Purges
from mirror.store.records import StoredRecords
from mirror.store.room import Room
from mirror.store.rows import Rows
from mirror.store.threads import FileThreads
from mirror.store.watch import StoredWatch
from tests.unit.proxy.doubles import SettableClock
from tests.unit.recorder import Recorder


class Cabinet:
    """Blobs, manifests and what they need, in a folder; time passes with every blob that is stored."""

    def __init__(self, path: Path, max_size: int = 2**40, min_free: int = 0, unused: float | None = None) -> None:
        self.path = path
        self.clock = SettableClock(0)
        self.observer = Recorder()
        self.threads = FileThreads()
        self.folders = Folders(path)
        self.rows = Rows(path / "records", self.observer)
        self.purges = Purges(self.folders)
        self.records = StoredRecords(self.rows, self.purges)
        self.index_rows = Rows(path / "index", self.observer)
        self.index = Index(self.index_rows, self.clock)
        self.committed = Committed(self.folders, self.index, self.threads)
        limits = Limits(max_size, min_free, unused)
        self.pins = StoredPins(self.rows)
        contents = StoredContents(self.folders, self.threads.reading)
        held = Held(self.pins, self.records, contents, self.index)
        watch = StoredWatch(self.folders, self.threads.writing, self.clock)
        eviction = Eviction(self.committed, self.index, held, watch, self.observer)
        self.room = Room(eviction, self.committed, self.folders, limits, self.threads.reserving, self.observer)
        self.blobs = Blobs(self.committed, self.folders, self.index, self.room, self.threads)
        self.manifests = StoredManifests(self.blobs, self.index, self.records, self.purges, self.threads.reading)

    async def __aenter__(self) -> Cabinet:
        await self.rows.open()
        await self.index_rows.open()
        self.folders.start()
        self.room.enter()
        self.purges.enter()
        self.blobs.sweep()
        await self.room.tidy()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.rows.close()
        await self.index_rows.close()
        self.room.leave()
        self.purges.leave()
        self.threads.close()
        self.folders.close()

    def file(self, digest: Digest) -> Path:
        return self.path / "blobs" / digest.algorithm / digest.encoded

    def partial_file(self, digest: Digest) -> Path:
        return self.path / "partial" / f"{digest.algorithm}-{digest.encoded}"

    def page_file(self, digest: Digest) -> Path:
        return self.path / "run" / f"{digest.algorithm}-{digest.encoded}"

    @property
    def partial_files(self) -> list[str]:
        return os.listdir(self.path / "partial")

    @property
    def pages(self) -> list[str]:
        return [name for name in os.listdir(self.path / "run") if name.startswith("sha")]

    async def claim(self, digest: Digest) -> Partial:
        """Return the partial file of this digest, which has no writer."""
        partial = await self.blobs.claim(digest)
        assert partial is not None
        return partial

    async def follow(self, digest: Digest) -> Followed:
        """Return the partial file of this digest, which another has."""
        followed = await self.blobs.follow(digest)
        assert followed is not None
        return followed

    async def begin(self, data: bytes) -> Partial:
        """Return a partial file that holds `data`, which is all of it."""
        partial = await self.claim(Digest.of(data))
        assert await partial.expect(len(data))
        await partial.append(data)
        return partial

    async def leave(self, data: bytes, whole: bytes | None = None) -> Path:
        """Leave a partial file of `whole` behind that has `data`, as a writer that died an hour ago did."""
        digest = Digest.of(data if whole is None else whole)
        partial = await self.claim(digest)
        await partial.append(data)
        await partial.close()
        left = self.partial_file(digest)
        os.utime(left, (time.time() - 3600,) * 2)
        return left

    async def store(self, data: bytes) -> Digest:
        """Commit a blob."""
        partial = await self.begin(data)
        await partial.commit()
        await partial.close()
        self.clock.now += 1
        return Digest.of(data)


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))
