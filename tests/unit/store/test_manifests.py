from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST
from mirror.store import manifests as manifests_module
from mirror.store.manifests import StoredManifests
from mirror.store.partial import Partial
from mirror.store.reading import StoredBlob
from tests.unit.store.cabinet import Cabinet, open_files

DATA = b'{"schemaVersion": 2}'
MANIFEST = Manifest(Digest.of(DATA), OCI_MANIFEST, DATA)


def cold(cabinet: Cabinet) -> StoredManifests:
    """The same manifests, with nothing of them in memory."""
    return StoredManifests(cabinet.blobs, cabinet.index, cabinet.records, cabinet.purges, cabinet.threads.reading)


async def test_what_was_put_is_got(cabinet: Cabinet) -> None:
    assert await cabinet.manifests.get(MANIFEST.digest) is None
    await cabinet.manifests.put(MANIFEST)
    assert await cabinet.manifests.get(MANIFEST.digest) == MANIFEST
    assert await cold(cabinet).get(MANIFEST.digest) == MANIFEST
    assert cabinet.file(MANIFEST.digest).read_bytes() == DATA
    assert cabinet.index.manifests == 1
    assert not cabinet.committed.is_leased(MANIFEST.digest)


async def test_a_turn_whose_time_is_up_while_it_ends_leaves_nothing_open(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        gate.wait(10)

    async def take_turn() -> None:
        async with cabinet.manifests.turn(MANIFEST.digest):
            pass

    before = open_files()
    monkeypatch.setattr(Partial, "_discard", slow)
    taking = asyncio.create_task(take_turn())
    await asyncio.to_thread(begun.wait, 10)
    taking.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert open_files() == before
    assert not cabinet.committed.is_leased(MANIFEST.digest)


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
    assert [digest for digest, _ in cabinet.index.first_to_go()][-1] == MANIFEST.digest


async def test_a_cache_too_small_for_it_does_not_keep_it(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=2 * len(DATA) - 1) as cabinet:
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


# What an image holds. --------------------------------------------------------------------------------------


def image(*layers: Digest, config: Digest | None = None, padding: int = 0) -> Manifest:
    """A manifest of these layers."""
    listed = [{"digest": str(digest)} for digest in layers]
    content = {"config": config and {"digest": str(config)}, "layers": listed, "padding": "x" * padding}
    data = json.dumps(content).encode()
    return Manifest(Digest.of(data), OCI_MANIFEST, data)


def index_of(*children: Digest, name: str = "") -> Manifest:
    """An index of these manifests."""
    data = json.dumps({"manifests": [{"digest": str(digest)} for digest in children], "name": name}).encode()
    return Manifest(Digest.of(data), OCI_INDEX, data)


def used_now(cabinet: Cabinet) -> set[Digest]:
    """What was used since the clock was set."""
    return {digest for digest, entry in cabinet.index.first_to_go() if entry.used_at == cabinet.clock.now}


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_hit_on_a_manifest_renews_what_the_image_holds(cabinet: Cabinet, in_memory: bool) -> None:
    config, first, second, other = [await cabinet.store(name) for name in (b"config", b"1", b"2", b"other")]
    pulled = image(first, second, config=config)
    await cabinet.manifests.put(pulled)
    cabinet.clock.now = 1000
    assert await (cabinet.manifests if in_memory else cold(cabinet)).get(pulled.digest) == pulled
    assert used_now(cabinet) == {config, first, second, pulled.digest}
    blobs = [digest for digest, entry in cabinet.index.first_to_go() if not entry.is_manifest]
    assert blobs == [other, first, second, config]


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_hit_on_an_index_renews_the_images_that_are_here(cabinet: Cabinet, in_memory: bool) -> None:
    layers = [await cabinet.store(name) for name in (b"amd64", b"arm64", b"other")]
    amd64, arm64, absent, other = image(layers[0]), image(layers[1]), image(Digest.of(b"s390x")), image(layers[2])
    for manifest in (amd64, arm64, other):
        await cabinet.manifests.put(manifest)
    index = index_of(amd64.digest, arm64.digest, absent.digest)
    await cabinet.manifests.put(index)
    cabinet.clock.now = 1000
    assert await (cabinet.manifests if in_memory else cold(cabinet)).get(index.digest) == index
    assert used_now(cabinet) == {index.digest, amd64.digest, arm64.digest, layers[0], layers[1]}
    assert absent.digest not in cabinet.index
    manifests = [digest for digest, entry in cabinet.index.first_to_go() if entry.is_manifest]
    assert manifests == [other.digest, amd64.digest, arm64.digest, index.digest]


async def test_an_index_of_indexes_renews_all_there_is_below(cabinet: Cabinet) -> None:
    layer = await cabinet.store(b"layer")
    bottom = image(layer)
    middle = index_of(bottom.digest)
    top = index_of(middle.digest)
    for manifest in (bottom, middle, top):
        await cabinet.manifests.put(manifest)
    for manifests in (cabinet.manifests, cold(cabinet)):
        cabinet.clock.now += 1000
        await manifests.get(top.digest)
        assert used_now(cabinet) == {layer, bottom.digest, middle.digest, top.digest}


async def test_a_hit_on_a_child_does_not_renew_its_index(cabinet: Cabinet) -> None:
    child = image(await cabinet.store(b"layer"))
    index = index_of(child.digest)
    for manifest in (child, index):
        await cabinet.manifests.put(manifest)
    cabinet.clock.now = 1000
    await cabinet.manifests.get(child.digest)
    assert index.digest not in used_now(cabinet)


async def test_a_child_that_is_gone_does_not_come_back_into_the_index(cabinet: Cabinet) -> None:
    layer = await cabinet.store(b"layer")
    child = image(layer)
    index = index_of(child.digest)
    for manifest in (child, index):
        await cabinet.manifests.put(manifest)
    for digest in (layer, child.digest):
        await cabinet.blobs.remove(digest)
    for manifests in (cabinet.manifests, cold(cabinet)):
        assert await manifests.get(index.digest) == index
        assert [digest for digest, _ in cabinet.index.first_to_go()] == [index.digest]


async def test_a_blob_that_an_index_lists_is_not_read_as_a_manifest(cabinet: Cabinet) -> None:
    blob = await cabinet.store(b"no manifest at all")
    index = index_of(blob)
    await cabinet.manifests.put(index)
    assert await cold(cabinet).get(index.digest) == index
    assert not cabinet.committed.is_leased(blob)


async def test_a_child_that_cannot_be_read_does_not_keep_its_index_from_being_served(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = image()
    index = index_of(child.digest)
    for manifest in (child, index):
        await cabinet.manifests.put(manifest)
    openly = cabinet.blobs.open

    async def open_blob(digest: Digest) -> StoredBlob | None:
        if digest == child.digest:
            raise StoreFailed("the disk refused: input/output error")
        return await openly(digest)

    monkeypatch.setattr(cabinet.blobs, "open", open_blob)
    assert await cold(cabinet).get(index.digest) == index


async def test_a_damaged_child_does_not_keep_its_index_from_being_served(cabinet: Cabinet) -> None:
    child = image()
    index = index_of(child.digest)
    for manifest in (child, index):
        await cabinet.manifests.put(manifest)
    cabinet.file(child.digest).unlink()
    cabinet.file(child.digest).write_bytes(b"x" * len(child.data))
    assert await cold(cabinet).get(index.digest) == index
    assert child.digest not in cabinet.index


async def test_an_index_whose_children_do_not_fit_into_memory_together_is_served(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = [image(padding=1000 + number) for number in range(8)]
    index = index_of(*(child.digest for child in children))
    for manifest in (*children, index):
        await cabinet.manifests.put(manifest)
    monkeypatch.setattr(manifests_module, "_HOT_BYTES", 8000)
    assert await cold(cabinet).get(index.digest) == index


async def test_indexes_that_share_their_children_are_looked_at_once_each(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two manifests a level, each of which lists both of the next level: 2**levels ways lead to the bottom.
    levels = 9
    below: list[Digest] = []
    for level in range(levels):
        pair = [index_of(*below, name=f"{level} {side}") for side in "ab"]
        for manifest in pair:
            await cabinet.manifests.put(manifest)
        below = [manifest.digest for manifest in pair]
    top = index_of(*below)
    await cabinet.manifests.put(top)
    touched: list[Digest] = []
    monkeypatch.setattr(cabinet.index, "touch", touched.append)
    await cabinet.manifests.get(top.digest)
    assert set(touched) == {digest for digest, _ in cabinet.index.first_to_go()}
    assert len(touched) <= 4 * (2 * levels + 1)


async def test_indexes_nested_deeply_are_served(cabinet: Cabinet) -> None:
    digest = await cabinet.store(b"layer")
    for level in range(600):
        manifest = index_of(digest, name=str(level))
        await cabinet.manifests.put(manifest)
        digest = manifest.digest
    for manifests in (cabinet.manifests, cold(cabinet)):
        found = await manifests.get(digest)
        assert found is not None
