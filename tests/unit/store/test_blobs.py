from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirror.oci.digest import Digest
from tests.unit.store.cabinet import Cabinet

DATA = b"some content"
DIGEST = Digest.of(DATA)


async def test_a_hit_is_a_file_that_opens(cabinet: Cabinet) -> None:
    assert await cabinet.blobs.open(DIGEST) is None
    await cabinet.store(DATA)
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    assert (body.size, await body.sendable(0), await body.sendable(5)) == (len(DATA), len(DATA), len(DATA))
    assert os.pread(body.fileno(), 100, 0) == DATA
    body.close()


async def test_an_open_blob_is_leased(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    first, second = await cabinet.blobs.open(DIGEST), await cabinet.blobs.open(DIGEST)
    assert first is not None
    assert second is not None
    first.close()
    first.close()
    assert cabinet.blobs.is_leased(DIGEST)
    second.close()
    assert not cabinet.blobs.is_leased(DIGEST)


async def test_a_removed_blob_stays_with_its_readers(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    await cabinet.blobs.remove(DIGEST)
    assert DIGEST not in cabinet.index
    assert await cabinet.blobs.open(DIGEST) is None
    assert os.pread(body.fileno(), 100, 0) == DATA
    body.close()


async def test_a_file_that_vanished_is_no_hit(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    cabinet.file(DIGEST).unlink()
    assert await cabinet.blobs.open(DIGEST) is None
    assert DIGEST not in cabinet.index
    assert cabinet.index.size == 0


async def test_a_file_the_index_does_not_know_is_a_hit(cabinet: Cabinet) -> None:
    cabinet.file(DIGEST).write_bytes(DATA)
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    body.close()


async def test_a_file_the_index_does_not_know_counts_once_it_was_used(cabinet: Cabinet) -> None:
    cabinet.file(DIGEST).write_bytes(DATA)
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    body.close()
    assert cabinet.index.size == len(DATA)


async def test_a_file_of_another_size_than_was_committed_is_no_hit(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    cabinet.file(DIGEST).unlink()
    cabinet.file(DIGEST).write_bytes(DATA[:-1])
    assert await cabinet.blobs.open(DIGEST) is None
    assert not cabinet.file(DIGEST).exists()
    assert not cabinet.blobs.is_leased(DIGEST)


async def test_a_link_is_no_hit(cabinet: Cabinet, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(DATA)
    cabinet.file(DIGEST).symlink_to(tmp_path / "outside")
    assert await cabinet.blobs.open(DIGEST) is None
    assert list(cabinet.blobs.files()) == []


async def test_reading_renews(cabinet: Cabinet) -> None:
    first, second = await cabinet.store(b"first"), await cabinet.store(b"second")
    body = await cabinet.blobs.open(first)
    assert body is not None
    body.close()
    assert [digest for digest, _ in cabinet.index.oldest_first()] == [second, first]


@pytest.mark.parametrize("name", ["short", "." + "0" * 64, "A" * 64, "0" * 64 + ".new", "\udcff"])
async def test_what_is_no_blob_is_passed_over(cabinet: Cabinet, name: str) -> None:
    await cabinet.store(DATA)
    (cabinet.path / "blobs" / "sha256" / name).write_bytes(b"garbage")
    assert [digest for digest, _, _ in cabinet.blobs.files()] == [DIGEST]


async def test_leftovers_are_swept_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / f"sha256-{DIGEST.encoded}").write_bytes(b"half")
    (tmp_path / "partial" / "anything").write_bytes(b"x")
    async with Cabinet(tmp_path) as cabinet:
        assert cabinet.partial_files == []


async def test_what_fits_is_admitted(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        assert cabinet.blobs.admits(100)
        assert not cabinet.blobs.admits(101)
        assert cabinet.blobs.usable()
