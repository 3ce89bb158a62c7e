"""A filler and all it is made of, in memory; several of them may share one disk, as processes do."""

from __future__ import annotations

from datetime import timedelta

from mirror.errors import UpstreamUnreachable
from mirror.oci.digest import Digest
from mirror.proxy.access import Access
from mirror.proxy.events.fills import FillFinished, FillStarted
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.failures import Failures
from mirror.proxy.fills.download import Means
from mirror.proxy.fills.filler import Filler
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import (
    HUB,
    MemoryCache,
    MemoryRecords,
    ScriptedTransfer,
    ScriptedUpstream,
    SettableClock,
    Step,
    read_to_end,
)
from tests.unit.proxy.draining import drain
from tests.unit.proxy.memory_disk import MemoryDisk
from tests.unit.proxy.memory_store import MemoryStore
from tests.unit.recorder import Recorder


class Works:
    """Fills `data` from a scripted upstream."""

    def __init__(
        self,
        data: bytes,
        *transfers: Step[ScriptedTransfer],
        max_size: int = 2**40,
        disk: MemoryDisk | None = None,
        upstream: ScriptedUpstream | None = None,
        records: MemoryRecords | None = None,
    ) -> None:
        self.data = data
        self.digest = Digest.of(data)
        self.upstream = upstream or ScriptedUpstream(blobs=list(transfers))
        self.store = MemoryStore(max_size, disk)
        self.disk = self.store.disk
        self.records = records or MemoryRecords()
        self.observer = Recorder()
        self.tasks = Tasks(self.observer)
        self.clock = SettableClock()
        self.failures = Failures(MemoryCache(self.clock), timedelta(seconds=30))
        upstreams = {"docker.io": self.upstream}
        access = Access(self.records, self.failures, self.tasks)
        means = Means(upstreams, self.store, self.records, self.failures, access, self.observer)
        self.filler = Filler(means, self.tasks)

    def beside(self) -> Works:
        """Return another process that has the same disk, the same records and the same upstream."""
        return Works(self.data, disk=self.disk, upstream=self.upstream, records=self.records)

    async def kill(self) -> None:
        """End this process at once, as kill -9 does."""
        self.store.kill()
        await self.tasks.cancel()

    async def open(self) -> Body:
        """Return a body of the fill, joined or started, or of the stored blob if that was quicker."""
        fill, _ = self.filler.join_or_start(HUB, self.digest)
        body = await fill.open() or await self.store.open(self.digest)
        assert body is not None
        return body

    async def read(self) -> bytes:
        """Return what a client gets."""
        body = await self.open()
        try:
            return await read_to_end(body)
        finally:
            body.close()

    async def end(self) -> FillFinished:
        """Wait for the end of the only fill, check that nothing is left of it, and return its last event."""
        await drain(self.tasks, 60)
        [finished] = self.observer.of(FillFinished)
        assert len(self.observer.of(FillStarted)) == 1
        self.check_nothing_is_left()
        return finished

    def check_nothing_is_left(self) -> None:
        assert +self.store.opened == {}
        assert self.disk.locked == []
        assert self.filler.find(self.digest) is None
        assert not self.observer.of(TaskCrashed)
        assert len(self.observer.of(FillStarted)) == len(self.observer.of(FillFinished))


def cut(data: bytes, start: int, stop: int) -> ScriptedTransfer:
    """A transfer of `data` from `start` on that breaks off at `stop`."""
    return ScriptedTransfer([data[start:stop], UpstreamUnreachable("reset")], len(data), start)
