from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Repository
from mirror.proxy.access import Access
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.cache_status import Kind
from mirror.proxy.failures import Failures
from mirror.proxy.fills.download import Means
from mirror.proxy.fills.fill import SMALL
from mirror.proxy.fills.filler import Filler
from mirror.proxy.freshness import FreshnessPolicy
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import Memory
from mirror.proxy.routing import Route
from mirror.proxy.scrubbing.refetch import Refetch
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import (
    HUB,
    MemoryCache,
    MemoryManifests,
    MemoryRecords,
    ScriptedTransfer,
    ScriptedUpstream,
    SettableClock,
)
from tests.unit.proxy.draining import drain
from tests.unit.proxy.memory_store import MemoryStore
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle

DATA = os.urandom(SMALL + 100_000)
DIGEST = Digest.of(DATA)
WRONG = bytes(len(DATA))
MANIFEST = Manifest(Digest.of(b"{}"), OCI_MANIFEST, b"{}")


class Works:
    """A refetch, and all it is made of, in memory."""

    def __init__(self, max_size: int = 2**40) -> None:
        self.upstream = ScriptedUpstream()
        self.store = MemoryStore(max_size)
        self.manifests = MemoryManifests()
        records, observer, clock = MemoryRecords(), Recorder(), SettableClock()
        self.tasks = Tasks(observer)
        upstreams = {"docker.io": self.upstream}
        failures = Failures(MemoryCache(clock), timedelta(seconds=30))
        access = Access(records, failures, self.tasks)
        filler = Filler(Means(upstreams, self.store, records, failures, access, observer), self.tasks)
        sizes = BlobSize(upstreams, records, failures, self.tasks)
        policy = FreshnessPolicy(timedelta(minutes=5), timedelta(days=7))
        memory = Memory(self.manifests, records, failures, policy, clock)
        pull_manifest = PullManifest(upstreams, memory, access, self.tasks, observer)
        pull_blob = PullBlob(upstreams, self.store, access, filler, sizes)
        self.refetch = Refetch(upstreams, pull_manifest, pull_blob)

    async def end(self) -> None:
        """Wait for what is under way, and check that no file is left open."""
        await drain(self.tasks, 60)
        assert self.store.open_files == 0


@pytest.mark.parametrize("data", [b"small", DATA])
@in_virtual_time
async def test_a_blob_is_stored_when_it_returns(data: bytes) -> None:
    works = Works()
    works.upstream.blobs.append(ScriptedTransfer.whole(data))
    await works.refetch(HUB, Kind.BLOB, Digest.of(data))
    assert works.store.committed == {Digest.of(data): data}
    await works.end()


@in_virtual_time
async def test_a_blob_that_is_slow_to_be_committed_is_waited_for() -> None:
    works, gate = Works(), asyncio.Event()
    works.upstream.blobs.append(ScriptedTransfer([DATA[:1000], gate, DATA[1000:]], len(DATA)))
    refetching = asyncio.create_task(works.refetch(HUB, Kind.BLOB, DIGEST))
    await settle()
    assert not refetching.done()
    gate.set()
    await refetching
    assert DIGEST in works.store.committed
    await works.end()


@in_virtual_time
async def test_a_manifest_is_stored_when_it_returns() -> None:
    works = Works()
    works.upstream.manifests.append(MANIFEST)
    await works.refetch(HUB, Kind.MANIFEST, MANIFEST.digest)
    assert works.manifests.kept == {MANIFEST.digest: MANIFEST}
    assert works.upstream.asked == [f"GET library/alpine manifest {MANIFEST.digest}"]
    await works.end()


@in_virtual_time
async def test_what_is_there_again_already_is_not_fetched() -> None:
    works = Works()
    works.manifests.kept[MANIFEST.digest] = MANIFEST
    works.store.committed[DIGEST] = DATA
    works.upstream.head_manifests.append(None)
    works.upstream.head_blobs.append(len(DATA))
    await works.refetch(HUB, Kind.MANIFEST, MANIFEST.digest)
    await works.refetch(HUB, Kind.BLOB, DIGEST)
    assert [question.split()[0] for question in works.upstream.asked] == ["HEAD", "HEAD"]
    await works.end()


@pytest.mark.parametrize("kind", [Kind.BLOB, Kind.MANIFEST])
@in_virtual_time
async def test_an_upstream_that_is_not_configured_any_more_is_not_asked(kind: Kind) -> None:
    works = Works()
    with pytest.raises(errors.UnknownRegistry, match="any more"):
        await works.refetch(Route("quay.io", Repository("some/thing")), kind, DIGEST)
    assert works.upstream.asked == []


@pytest.mark.parametrize("error", [errors.BlobUnknown("no"), errors.UpstreamUnreachable("down")])
@in_virtual_time
async def test_what_upstream_says_instead_is_raised(error: MirrorError) -> None:
    works = Works()
    works.upstream.blobs += [error] * 6
    with pytest.raises(type(error)):
        await works.refetch(HUB, Kind.BLOB, DIGEST)
    await works.end()


@pytest.mark.parametrize("data", [b"small", DATA])
@in_virtual_time
async def test_bytes_that_are_wrong_again_are_not_stored(data: bytes) -> None:
    works = Works()
    works.upstream.blobs += [ScriptedTransfer.whole(bytes(len(data))) for _ in range(2)]
    with pytest.raises(MirrorError, match="digest"):
        await works.refetch(HUB, Kind.BLOB, Digest.of(data))
    assert works.store.committed == {}
    await works.end()


@in_virtual_time
async def test_a_blob_that_cannot_be_kept_is_a_failure() -> None:
    works = Works(max_size=len(DATA) - 1)
    works.upstream.blobs.append(ScriptedTransfer.whole(DATA))
    works.upstream.head_blobs.append(len(DATA))
    with pytest.raises(errors.StoreFailed, match="did not take"):
        await works.refetch(HUB, Kind.BLOB, DIGEST)
    await works.end()


@in_virtual_time
async def test_a_blob_that_the_disk_does_not_commit_is_a_failure() -> None:
    works = Works()
    works.store.failing.add("commit")
    works.upstream.blobs.append(ScriptedTransfer.whole(DATA))
    works.upstream.head_blobs.append(len(DATA))
    with pytest.raises(errors.StoreFailed, match="did not take"):
        await works.refetch(HUB, Kind.BLOB, DIGEST)
    await works.end()


@in_virtual_time
async def test_a_manifest_that_the_disk_does_not_take_is_a_failure() -> None:
    works = Works()
    works.manifests.failing = True
    works.upstream.manifests.append(MANIFEST)
    with pytest.raises(errors.StoreFailed, match="did not take"):
        await works.refetch(HUB, Kind.MANIFEST, MANIFEST.digest)
    await works.end()
