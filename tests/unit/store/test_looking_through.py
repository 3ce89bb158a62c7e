"""What is served, stored and removed while the folder is still being looked through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.proxy.events.store import CacheResized, Evicted
from tests.unit.store.cabinet import Cabinet

A, B, C, D = (name * 10 for name in (b"a", b"b", b"c", b"d"))
DATA = b'{"schemaVersion": 2}'
MANIFEST = Manifest(Digest.of(DATA), OCI_MANIFEST, DATA)


@asynccontextmanager
async def reopened(path: Path, max_size: int = 2**40, min_free: int = 0) -> AsyncIterator[Cabinet]:
    """The same folder once more, by somebody who knows nothing of it yet."""
    async with Cabinet(path, max_size, min_free) as cabinet:
        cabinet.clock.now += 1000
        await cabinet.index.begin()
        yield cabinet


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A folder with three blobs and a manifest, of which A was used last, and with an index."""
    async with Cabinet(tmp_path) as cabinet:
        for data in (A, B, C):
            await cabinet.store(data)
        await cabinet.manifests.put(MANIFEST)
        cabinet.index.touch(Digest.of(A))
        await cabinet.index.flush()
    return tmp_path


async def look_through(cabinet: Cabinet) -> None:
    await cabinet.committed.look_through(())


async def read(cabinet: Cabinet, data: bytes) -> bool:
    """Tell whether the blob is a hit."""
    blob = await cabinet.blobs.open(Digest.of(data))
    if blob is not None:
        blob.close()
    return blob is not None


def in_order(cabinet: Cabinet) -> list[Digest]:
    return [digest for digest, _ in cabinet.index.first_to_go()]


async def test_what_is_there_is_a_hit_and_renewed(folder: Path) -> None:
    async with reopened(folder) as cabinet:
        assert await read(cabinet, B)
        assert await cabinet.manifests.get(MANIFEST.digest) == MANIFEST
        assert not await read(cabinet, D)
        await look_through(cabinet)
        assert in_order(cabinet) == [Digest.of(C), Digest.of(A), Digest.of(B), MANIFEST.digest]
        assert cabinet.index.manifests == 1
        await cabinet.index.flush()
        assert len(await cabinet.index_rows.items()) == 4


@pytest.mark.parametrize("damaged", [b"", A[:-1], A + b"x"])
async def test_a_file_that_is_not_as_long_as_its_row_says_is_no_hit(folder: Path, damaged: bytes) -> None:
    async with reopened(folder) as cabinet:
        file = cabinet.file(Digest.of(A))
        file.chmod(0o600)
        file.write_bytes(damaged)
        assert not await read(cabinet, A)
        assert not file.exists()
        await look_through(cabinet)
        assert Digest.of(A) not in cabinet.index


async def test_what_is_removed_meanwhile_is_gone_and_what_is_committed_is_there(folder: Path) -> None:
    async with reopened(folder) as cabinet:
        looking = asyncio.create_task(look_through(cabinet))
        await cabinet.blobs.remove(Digest.of(A))
        await cabinet.store(D)
        await looking
        assert set(in_order(cabinet)) == {Digest.of(B), Digest.of(C), Digest.of(D), MANIFEST.digest}
        assert cabinet.index.size == 30 + len(DATA)


async def test_what_cannot_be_removed_is_still_in_the_books(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise PermissionError(13, "not ours")

    async with reopened(folder) as cabinet:
        monkeypatch.setattr(cabinet.folders.blobs["sha256"], "remove", refuse)
        with pytest.raises(StoreFailed):
            await cabinet.blobs.remove(Digest.of(A))
        await look_through(cabinet)
        assert Digest.of(A) in cabinet.index


async def test_a_fill_that_fits_beside_what_the_rows_tell_waits_for_nothing(folder: Path) -> None:
    async with reopened(folder, max_size=1000) as cabinet:
        await cabinet.store(D)
        assert not cabinet.index.is_whole
        cabinet.room.report()
        assert cabinet.observer.of(CacheResized)[-1] == CacheResized(30 + len(DATA), 1, 3)


async def test_a_fill_that_needs_room_waits_until_it_is_known_who_goes_first(folder: Path) -> None:
    async with reopened(folder, max_size=30 + len(DATA)) as cabinet:
        filling = asyncio.create_task(cabinet.store(D))
        assert await read(cabinet, C)
        assert not filling.done()
        await look_through(cabinet)
        await filling
        assert [event.digest for event in cabinet.observer.of(Evicted)] == [Digest.of(B)]


async def test_a_fill_without_an_index_waits_until_it_is_known_what_there_is(tmp_path: Path) -> None:
    async with reopened(tmp_path) as cabinet:
        filling = asyncio.create_task(cabinet.store(D))
        await asyncio.wait([filling], timeout=0.05)
        assert not filling.done()
        await look_through(cabinet)
        await filling


async def test_who_waits_for_room_in_vain_gets_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.store.wholeness._PATIENCE_SECONDS", 0.0)
    async with reopened(folder, min_free=2**62) as cabinet:
        partial = await cabinet.claim(Digest.of(D))
        assert not await partial.expect(len(D))
        await partial.close()
        assert cabinet.observer.of(Evicted) == []
        assert await read(cabinet, A)
