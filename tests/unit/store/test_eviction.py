from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.proxy.events import CacheResized, Evicted, StoreTroubled
from tests.unit.store.cabinet import Cabinet


def evicted(cabinet: Cabinet) -> list[Digest]:
    return [event.digest for event in cabinet.observer.of(Evicted)]


async def test_what_fits_stays(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=30) as cabinet:
        for name in (b"a", b"b", b"c"):
            await cabinet.store(name * 10)
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == []
        assert cabinet.observer.of(CacheResized) == [CacheResized(30, 0, 3)]


async def test_the_least_recently_used_go_and_no_more_than_needed(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=25) as cabinet:
        a, b, c, d = [await cabinet.store(name * 10) for name in (b"a", b"b", b"c", b"d")]
        cabinet.index.touch(a)
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == [b, c]
        assert [digest for digest, _ in cabinet.index.first_to_go()] == [d, a]
        assert not cabinet.file(b).exists()
        assert cabinet.file(a).exists()
        assert cabinet.observer.of(CacheResized)[-1].size == 20


async def test_what_is_read_stays(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=5) as cabinet:
        a, b = await cabinet.store(b"a" * 10), await cabinet.store(b"b" * 10)
        body = await cabinet.blobs.open(a)
        assert body is not None
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == [b]
        body.close()
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == [b, a]
        assert cabinet.index.size == 0


async def test_many_at_once_evict_each_file_once(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=50) as cabinet:
        for number in range(20):
            await cabinet.store(b"%10d" % number)
        await asyncio.gather(*(cabinet.eviction.make_room() for _ in range(10)))
        assert len(evicted(cabinet)) == len(set(evicted(cabinet))) == 15


async def test_a_file_that_does_not_go_ends_the_round_and_does_not_stop_the_next_ones(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=5) as cabinet:
        a, b = await cabinet.store(b"a" * 10), await cabinet.store(b"b" * 10)
        cabinet.file(a).unlink()
        cabinet.file(a).mkdir()
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == []
        assert [event.doing for event in cabinet.observer.of(StoreTroubled)] == ["eviction"]
        assert cabinet.index.size == 20
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == [b]
        assert a in cabinet.index
        assert cabinet.observer.of(CacheResized)[-1].size == 10


async def test_a_disk_that_removes_nothing_does_not_keep_the_eviction_busy(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=5) as cabinet:
        for name in (b"a", b"b", b"c"):
            digest = await cabinet.store(name * 10)
            cabinet.file(digest).unlink()
            cabinet.file(digest).mkdir()
        for rounds in (1, 2, 3):
            await asyncio.wait_for(cabinet.eviction.make_room(), 5)
            assert len(cabinet.observer.of(StoreTroubled)) == rounds
        assert evicted(cabinet) == []
        assert (cabinet.index.size, len(cabinet.index)) == (30, 3)


async def test_blobs_go_before_manifests(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=10) as cabinet:
        manifest = Manifest(Digest.of(b"m" * 10), OCI_MANIFEST, b"m" * 10)
        await cabinet.manifests.put(manifest)
        a, b = await cabinet.store(b"a" * 10), await cabinet.store(b"b" * 10)
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == [a, b]
        assert manifest.digest in cabinet.index
        await cabinet.manifests.put(Manifest(Digest.of(b"n" * 10), OCI_MANIFEST, b"n" * 10))
        await cabinet.eviction.make_room()
        assert evicted(cabinet) == [a, b, manifest.digest]


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), limit=st.integers(0, 100))
def test_afterwards_it_fits(sizes: list[int], limit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    async def scenario() -> None:
        async with Cabinet(tmp_path_factory.mktemp("cache"), max_size=limit) as cabinet:
            stored = [await cabinet.store(bytes([number]) * size) for number, size in enumerate(sizes)]
            await cabinet.eviction.make_room()
            assert cabinet.index.size <= limit
            on_disk = {digest for digest, _, _ in cabinet.blobs.files()}
            assert on_disk == {digest for digest, _ in cabinet.index.first_to_go()}
            assert [*evicted(cabinet), *(digest for digest in stored if digest in on_disk)] == stored

    asyncio.run(scenario())
