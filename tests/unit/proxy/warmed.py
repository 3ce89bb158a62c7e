"""Warming, and all it is made of, in memory: an upstream that follows a script, a disk, a clock."""

from __future__ import annotations

import json
from datetime import timedelta

from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX, OCI_MANIFEST
from mirror.proxy.access import Access
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.failures import Failures
from mirror.proxy.fills.download import Means
from mirror.proxy.fills.filler import Filler
from mirror.proxy.freshness import FreshnessPolicy
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.operations.naming import Naming
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import Memory
from mirror.proxy.routing import Routing, UpstreamNames
from mirror.proxy.tasks import Tasks
from mirror.proxy.warming.warm import Warm, Ways
from tests.unit.proxy.doubles import (
    MemoryCache,
    MemoryManifests,
    MemoryRecords,
    ScriptedTransfer,
    ScriptedUpstream,
    SettableClock,
    SettableGovernor,
)
from tests.unit.proxy.draining import drain
from tests.unit.proxy.memory_store import MemoryStore
from tests.unit.proxy.test_visibility import Gate
from tests.unit.recorder import Recorder

TTL = 300.0


class Warmer:
    """Warms from `upstream` into `manifests` and `store`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.upstream = ScriptedUpstream()
        self.store = MemoryStore()
        self.manifests, self.records = MemoryManifests(), MemoryRecords()
        self.observer, self.clock, self.governor = Recorder(), clock or SettableClock(), SettableGovernor()
        self.tasks = Tasks(self.observer)
        self.gate = Gate()
        upstreams = {"docker.io": self.upstream}
        failures = Failures(MemoryCache(self.clock), timedelta(seconds=30))
        access = Access(self.records, failures, self.tasks)
        filler = Filler(Means(upstreams, self.store, self.records, failures, access, self.observer), self.tasks)
        sizes = BlobSize(upstreams, self.records, failures, self.tasks)
        self.policy = FreshnessPolicy(timedelta(seconds=TTL), timedelta(days=7))
        memory = Memory(self.manifests, self.records, failures, self.policy, self.clock, self.governor)
        self.puller = PullManifest(upstreams, memory, access, self.tasks, self.observer)
        blobs = PullBlob(upstreams, self.store, access, filler, sizes)
        naming = Naming(Routing([UpstreamNames("docker.io")], "docker.io"))
        ways = Ways(naming, self.gate.visibility, upstreams, self.puller, blobs, self.governor)
        self.warm = Warm(ways, self.observer)

    def offer(self, manifest: Manifest) -> None:
        """Have upstream name this manifest whenever it is asked by HEAD, three times."""
        self.upstream.head_manifests += [manifest.descriptor] * 3

    def offer_blobs(self, *blobs: bytes) -> None:
        """Have upstream send these, in the order in which they are asked for."""
        self.upstream.blobs += [ScriptedTransfer.whole(blob) for blob in blobs]

    async def end(self) -> None:
        """Wait for what is under way, and check that nothing is left of it."""
        await drain(self.tasks, 600)
        assert self.store.open_files == 0
        assert not self.observer.of(TaskCrashed)


def image(*blobs: bytes) -> Manifest:
    """A manifest of these blobs."""
    layers = [{"digest": str(Digest.of(blob)), "size": len(blob), "mediaType": "x/layer"} for blob in blobs]
    return _manifest({"layers": layers}, OCI_MANIFEST)


def index(**images: Manifest) -> Manifest:
    """An index of these images, by their architectures."""
    children = [
        {
            "digest": str(one.digest),
            "size": len(one.data),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture, one in images.items()
    ]
    return _manifest({"manifests": children}, OCI_INDEX)


def _manifest(document: dict[str, object], media_type: str) -> Manifest:
    data = json.dumps(document).encode()
    return Manifest(Digest.of(data), media_type, data)
