"""The mirror without its listeners and without a network: the real cache, fills and pulls, on an upstream in memory."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from mirror.errors import MirrorError
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository, Tag
from mirror.proxy.access import Access
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.failures import Failures
from mirror.proxy.fills.download import Means
from mirror.proxy.fills.filler import Filler
from mirror.proxy.freshness import FreshnessPolicy
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import Memory
from mirror.proxy.routing import Route
from mirror.proxy.scrubbing.refetch import Refetch
from mirror.proxy.scrubbing.scrub import Report, Scrub, Thoroughness
from mirror.proxy.tasks import Tasks
from mirror.store.cache import Cache
from mirror.store.limits import Limits
from mirror.store.memory import BoundedMemory
from tests.crash.content import MAX_SIZE
from tests.crash.upstream import CountingUpstream
from tests.unit.proxy.doubles import read_to_end
from tests.unit.recorder import Recorder

ROUTE = Route("docker.io", Repository("library/alpine"))
LATEST = Tag("latest")


class Machine:
    """A mirror on the cache folder `path`; `observer` keeps what happened."""

    def __init__(self, path: Path, pause: float = 0.0, max_size: int = MAX_SIZE) -> None:
        self.observer = Recorder()
        self.upstream = CountingUpstream(pause)
        self.cache = Cache(path, Limits(max_size), self.observer)
        self._tasks = Tasks(self.observer)
        upstreams = {ROUTE.upstream: self.upstream}
        records, store = self.cache.records, self.cache.blobs
        failures = Failures(BoundedMemory(), timedelta(seconds=30))
        access = Access(records, failures, self._tasks)
        filler = Filler(Means(upstreams, store, records, failures, access, self.observer), self._tasks)
        sizes = BlobSize(upstreams, records, failures, self._tasks)
        policy = FreshnessPolicy(timedelta(minutes=5), timedelta(days=1))
        memory = Memory(self.cache.manifests, records, failures, policy, time.time)
        self.blobs = PullBlob(upstreams, store, access, filler, sizes)
        self.manifests = PullManifest(upstreams, memory, access, self._tasks, self.observer)
        refetch = Refetch(upstreams, self.manifests, self.blobs)
        self._scrub = Scrub(self.cache.inventory, refetch, self.observer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Machine]:
        """Start, and stop as the application does: fills end first."""
        await self.cache.start()
        try:
            yield self
            await self.settle()
        finally:
            await self._tasks.cancel()
            await self.cache.stop()

    async def pull(self, digest: Digest) -> bytes:
        """Return what a client gets of a blob; raises MirrorError where it would get an error or a cut."""
        pulled = await self.blobs.pull(ROUTE, digest)
        try:
            return await read_to_end(pulled.body)
        finally:
            pulled.body.close()

    async def settle(self) -> None:
        """Wait until no fill is under way; raises TimeoutError for one that does not end."""
        async with asyncio.timeout(30):
            await self._tasks.finished()

    async def scrub(self) -> Report | None:
        """Verify all that is stored, and mend it; None where the disk would not let us look."""
        try:
            return await self._scrub.run(Thoroughness())
        except MirrorError:
            return None


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))
