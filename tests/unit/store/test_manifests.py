from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import MAX_MANIFEST, OCI_MANIFEST
from mirror.store.manifests import StoredManifests
from tests.unit.store.cabinet import Cabinet, open_files

DATA = b'{"schemaVersion": 2}'
MANIFEST = Manifest(Digest.of(DATA), OCI_MANIFEST, DATA)


def cold(cabinet: Cabinet) -> StoredManifests:
    """The same manifests, with nothing of them in memory."""
    return StoredManifests(cabinet.blobs, cabinet.index, cabinet.records, cabinet.threads.reading)


async def test_what_was_put_is_got(cabinet: Cabinet) -> None:
    assert await cabinet.manifests.get(MANIFEST.digest) is None
    await cabinet.manifests.put(MANIFEST)
    assert await cabinet.manifests.get(MANIFEST.digest) == MANIFEST
    assert await cold(cabinet).get(MANIFEST.digest) == MANIFEST
    assert cabinet.file(MANIFEST.digest).read_bytes() == DATA
    assert cabinet.index.manifests == 1
    assert not cabinet.blobs.is_leased(MANIFEST.digest)


@pytest.mark.parametrize("damage", [DATA[:-1], DATA + b" ", b"", b"x" * len(DATA)])
async def test_corrupt_bytes_are_not_served_and_go(cabinet: Cabinet, damage: bytes) -> None:
    await cabinet.manifests.put(MANIFEST)
    cabinet.file(MANIFEST.digest).unlink()
    cabinet.file(MANIFEST.digest).write_bytes(damage)
    manifests = cold(cabinet)
    assert await manifests.get(MANIFEST.digest) is None
    assert not cabinet.file(MANIFEST.digest).exists()
    assert MANIFEST.digest not in cabinet.index
    await manifests.put(MANIFEST)
    assert await manifests.get(MANIFEST.digest) == MANIFEST


async def test_what_was_evicted_is_not_served_from_memory(cabinet: Cabinet) -> None:
    await cabinet.manifests.put(MANIFEST)
    await cabinet.blobs.remove(MANIFEST.digest)
    assert await cabinet.manifests.get(MANIFEST.digest) is None


async def test_a_blob_without_a_media_type_is_no_manifest(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    assert await cabinet.manifests.get(MANIFEST.digest) is None
    assert cabinet.file(MANIFEST.digest).exists()


async def test_a_blob_too_large_for_a_manifest_is_none(cabinet: Cabinet) -> None:
    digest = await cabinet.store(b"x" * (MAX_MANIFEST + 1))
    await cabinet.records.put_media_type(digest, OCI_MANIFEST)
    assert await cabinet.manifests.get(digest) is None
    assert cabinet.file(digest).exists()


async def test_getting_renews(cabinet: Cabinet) -> None:
    await cabinet.manifests.put(MANIFEST)
    await cabinet.store(b"later")
    await cabinet.manifests.get(MANIFEST.digest)
    assert [digest for digest, _ in cabinet.index.oldest_first()][-1] == MANIFEST.digest


async def test_a_cache_too_small_for_it_does_not_keep_it(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=len(DATA) - 1) as cabinet:
        await cabinet.manifests.put(MANIFEST)
        assert await cabinet.manifests.get(MANIFEST.digest) is None
        assert cabinet.partial_files == []


async def test_a_manifest_put_by_many_at_once_is_whole(cabinet: Cabinet) -> None:
    before = open_files()
    await asyncio.gather(*(cabinet.manifests.put(MANIFEST) for _ in range(20)))
    assert await cold(cabinet).get(MANIFEST.digest) == MANIFEST
    assert cabinet.partial_files == []
    assert open_files() == before


async def test_wrong_bytes_are_never_kept(cabinet: Cabinet) -> None:
    with pytest.raises(StoreFailed):
        await cabinet.manifests.put(Manifest(Digest.of(b"other"), OCI_MANIFEST, DATA))
    assert not cabinet.file(Digest.of(b"other")).exists()
    assert cabinet.partial_files == []
    assert await cabinet.manifests.get(Digest.of(b"other")) is None
