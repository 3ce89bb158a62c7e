"""One simulated process: the whole core over a simulated upstream and its view of the shared disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta

from mirror.proxy.access import Access
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.failures import Failures
from mirror.proxy.fills.download import Means
from mirror.proxy.fills.filler import Filler
from mirror.proxy.freshness import FreshnessPolicy
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import Memory
from mirror.proxy.tasks import Tasks
from tests.simulation.origin import Origin, SimulatedUpstream
from tests.unit.proxy.doubles import MemoryCache, MemoryManifests, MemoryRecords
from tests.unit.proxy.memory_disk import MemoryDisk
from tests.unit.proxy.memory_store import MemoryStore
from tests.unit.recorder import Recorder

NEGATIVE_TTL = 30.0
TAG_TTL = 60.0
STALE_IF_ERROR = 600.0


class Shared:
    """What all processes have in common."""

    def __init__(self, origin: Origin, disk: MemoryDisk, max_size: int) -> None:
        self.origin = origin
        self.disk = disk
        self.max_size = max_size
        self.records = MemoryRecords()
        self.manifests = MemoryManifests()


class Site:
    """A process and its clients."""

    def __init__(self, shared: Shared, make_tasks: Callable[[Observer], Tasks] = Tasks) -> None:
        clock = asyncio.get_running_loop().time
        self.upstream = SimulatedUpstream(shared.origin)
        self.store = MemoryStore(shared.max_size, shared.disk)
        self.observer = Recorder()
        self.tasks = make_tasks(self.observer)
        self.clients: set[asyncio.Task[None]] = set()
        records = shared.records
        upstreams = {"docker.io": self.upstream}
        failures = Failures(MemoryCache(clock), timedelta(seconds=NEGATIVE_TTL))
        access = Access(records, failures, self.tasks)
        self.filler = Filler(Means(upstreams, self.store, records, failures, access, self.observer), self.tasks)
        sizes = BlobSize(upstreams, records, failures, self.tasks)
        self.blobs = PullBlob(upstreams, self.store, access, self.filler, sizes)
        policy = FreshnessPolicy(timedelta(seconds=TAG_TTL), timedelta(seconds=STALE_IF_ERROR))
        memory = Memory(shared.manifests, records, failures, policy, clock)
        self.manifests = PullManifest(upstreams, memory, access, self.tasks, self.observer)

    def serve(self, client: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let a client come."""
        task = asyncio.create_task(client)
        self.clients.add(task)
        task.add_done_callback(self.clients.discard)
        return task

    async def kill(self) -> None:
        """End it at once: the disk keeps what it has, upstream and the clients see their connections end."""
        self.store.kill()
        self.upstream.cut_off()
        for client in self.clients:
            client.cancel()
        await self.tasks.cancel()
        if self.clients:
            await asyncio.wait(self.clients)

    def leftovers(self) -> list[str]:
        """Return what is wrong with a process that has nothing to do."""
        found = [f"{count} {what} open" for what, count in self.store.opened.items() if count]
        found += [f"crashed: {event.task}: {event.error!r}" for event in self.observer.of(TaskCrashed)]
        return found
