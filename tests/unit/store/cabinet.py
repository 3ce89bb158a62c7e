"""A store on a real disk, without the cache around it."""

from __future__ import annotations

import os
from pathlib import Path

from mirror.oci.digest import Digest
from mirror.store.blobs import Blobs
from mirror.store.eviction import Eviction
from mirror.store.index import Index
from mirror.store.manifests import StoredManifests
from mirror.store.partial import Partial
from mirror.store.records import StoredRecords
from mirror.store.rows import Rows
from mirror.store.threads import FileThreads
from tests.unit.proxy.doubles import SettableClock
from tests.unit.recorder import Recorder


class Cabinet:
    """Blobs, manifests and what they need, in a folder; time passes with every commit."""

    def __init__(self, path: Path, max_size: int = 2**40) -> None:
        self.path = path
        self.clock = SettableClock(0)
        self.observer = Recorder()
        self.threads = FileThreads()
        self.rows = Rows(path / "records", self.observer)
        self.records = StoredRecords(self.rows)
        self.index = Index(Rows(path / "index", self.observer), self.clock)
        self.blobs = Blobs(path, self.index, self.threads, max_size, self._grown)
        self.manifests = StoredManifests(self.blobs, self.index, self.records, self.threads.reading)
        self.eviction = Eviction(self.blobs, self.index, max_size, self.observer)

    async def __aenter__(self) -> Cabinet:
        await self.rows.open()
        await self.blobs.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.blobs.close()
        await self.rows.close()
        self.threads.close()

    async def _grown(self) -> None:
        self.clock.now += 1

    def file(self, digest: Digest) -> Path:
        return self.path / "blobs" / digest.algorithm / digest.encoded

    @property
    def partial_files(self) -> list[str]:
        return os.listdir(self.path / "partial")

    async def begin(self, data: bytes) -> Partial:
        """Return a partial file that holds `data`, which is all of it."""
        partial = await self.blobs.begin(Digest.of(data))
        await partial.append(data)
        return partial

    async def store(self, data: bytes) -> Digest:
        """Commit a blob."""
        partial = await self.begin(data)
        await partial.commit()
        await partial.close()
        return Digest.of(data)


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))
