from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.store.blobs import LEFT_SECONDS
from mirror.store.folders import ALGORITHMS
from tests.unit.store.cabinet import Cabinet, open_files

DATA = b"some content"
DIGEST = Digest.of(DATA)


# Claims. ---------------------------------------------------------------------------------------------------


async def test_a_digest_has_one_writer_at_a_time(cabinet: Cabinet, tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as other:
        partial = await cabinet.claim(DIGEST)
        assert await cabinet.blobs.claim(DIGEST) is None
        assert await other.blobs.claim(DIGEST) is None
        await partial.close()
        partial = await other.claim(DIGEST)
        assert await cabinet.blobs.claim(DIGEST) is None
        await partial.close()


async def test_what_is_committed_is_not_written_again(cabinet: Cabinet, tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as other:
        await cabinet.store(DATA)
        before = open_files()
        assert await other.blobs.claim(DIGEST) is None
        assert (cabinet.partial_files, cabinet.pages) == ([], [])
        assert open_files() == before
        assert not other.committed.is_leased(DIGEST)


async def test_manifests_have_as_many_writers_as_come(cabinet: Cabinet) -> None:
    writers = [await cabinet.blobs.begin(DIGEST) for _ in range(3)]
    assert len(cabinet.partial_files) == 3
    for writer in writers:
        await writer.append(DATA)
        await writer.commit()
        await writer.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA
    assert (cabinet.partial_files, cabinet.pages) == ([], [])


async def test_a_blob_on_its_way_is_unfinished_and_leased(cabinet: Cabinet) -> None:
    assert not cabinet.blobs.is_unfinished(DIGEST)
    partial = await cabinet.begin(DATA)
    assert cabinet.blobs.is_unfinished(DIGEST)
    assert cabinet.committed.is_leased(DIGEST)
    await partial.commit()
    assert not cabinet.blobs.is_unfinished(DIGEST)
    await partial.close()
    assert not cabinet.committed.is_leased(DIGEST)


async def test_nobody_follows_what_nobody_wrote(cabinet: Cabinet) -> None:
    assert await cabinet.blobs.follow(DIGEST) is None


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
async def test_a_stranger_in_place_of_a_partial_file_gives_way_or_is_refused(
    cabinet: Cabinet, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    planted = cabinet.partial_file(DIGEST)
    if kind == "link":
        planted.symlink_to(tmp_path / "outside")
    elif kind == "fifo":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    before = open_files()
    if kind == "folder":
        with pytest.raises(StoreFailed):
            await cabinet.blobs.claim(DIGEST)
        assert open_files() == before
        assert not cabinet.committed.is_leased(DIGEST)
    else:
        await cabinet.store(DATA)
        assert cabinet.file(DIGEST).read_bytes() == DATA
    assert (tmp_path / "outside").read_bytes() == b"outside"


# What nobody goes on with. ---------------------------------------------------------------------------------


def plant(path: Path, *names: str, data: bytes = b"half", age: float = 0) -> None:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
        os.utime(path / name, (time.time() - age,) * 2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_private_and_empty_leftovers_are_swept(tmp_path: Path, algorithm: str) -> None:
    name = f"{algorithm}-{Digest.of(DATA, algorithm).encoded}"
    plant(tmp_path / "partial", f"{name}.1", f"{name}.42ab")
    plant(tmp_path / "partial", name, data=b"")
    plant(tmp_path / "run", name, f"{name}.1")
    async with Cabinet(tmp_path) as cabinet:
        assert (cabinet.partial_files, cabinet.pages) == ([], [])


async def test_a_page_without_a_file_is_swept(tmp_path: Path) -> None:
    plant(tmp_path / "run", f"sha256-{DIGEST.encoded}")
    async with Cabinet(tmp_path) as cabinet:
        assert (cabinet.partial_files, cabinet.pages) == ([], [])


async def test_what_can_be_gone_on_with_waits_for_a_day(tmp_path: Path) -> None:
    other = Digest.of(b"other")
    plant(tmp_path / "partial", f"sha256-{DIGEST.encoded}", age=LEFT_SECONDS - 60)
    plant(tmp_path / "partial", f"sha256-{other.encoded}", age=LEFT_SECONDS + 60)
    async with Cabinet(tmp_path) as cabinet:
        assert cabinet.partial_files == [f"sha256-{DIGEST.encoded}"]


async def test_what_is_being_written_is_not_swept(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as cabinet, Cabinet(tmp_path) as other:
        blob, manifest = await cabinet.claim(DIGEST), await cabinet.blobs.begin(DIGEST)
        old = time.time() - 2 * LEFT_SECONDS
        for name in cabinet.partial_files:
            os.utime(tmp_path / "partial" / name, (old, old))
        other.blobs.sweep()
        cabinet.blobs.sweep()
        assert len(cabinet.partial_files) == 2
        for partial in (blob, manifest):
            await partial.append(DATA)
            await partial.commit()
            await partial.close()


@pytest.mark.parametrize(
    "name",
    [
        "anything",
        "notes.txt",
        DIGEST.encoded,
        f"sha256:{DIGEST.encoded}",
        f"md5-{DIGEST.encoded}",
        f"sha256-{DIGEST.encoded}.bak",
        f"sha256-{DIGEST.encoded}.",
        f"sha256-{DIGEST.encoded}\n",
        f"my-sha256-{DIGEST.encoded}",
    ],
)
async def test_only_what_is_named_as_we_name_it_is_swept(tmp_path: Path, name: str) -> None:
    plant(tmp_path / "partial", name, data=b"", age=2 * LEFT_SECONDS)
    async with Cabinet(tmp_path) as cabinet:
        assert cabinet.partial_files == [name]


async def test_a_sweep_leaves_no_file_open(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as cabinet:
        plant(tmp_path / "partial", *(f"sha256-{DIGEST.encoded}.{number}" for number in range(5)))
        before = open_files()
        cabinet.blobs.sweep()
        assert open_files() == before


# The disk. -------------------------------------------------------------------------------------------------


async def test_whether_the_disk_can_be_written_to(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cabinet.blobs.writable()
    assert cabinet.partial_files == []

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert not cabinet.blobs.writable()
    assert cabinet.partial_files == []


async def test_a_file_system_without_locks_has_a_file_for_each_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlockable(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    async with Cabinet(tmp_path) as cabinet:
        monkeypatch.setattr(fcntl, "flock", unlockable)
        cabinet.folders.has_locks = cabinet.folders.partial.can_lock()
        assert not cabinet.folders.has_locks
        monkeypatch.undo()
        first, second = await cabinet.claim(DIGEST), await cabinet.claim(DIGEST)
        for writer in (first, second):
            await writer.append(DATA)
        cabinet.blobs.sweep()
        assert len(cabinet.partial_files) == 2
        for writer in (first, second):
            await writer.commit()
            await writer.close()
        assert cabinet.file(DIGEST).read_bytes() == DATA


async def test_half_of_what_there_is_is_admitted(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        assert cabinet.blobs.admits(50)
        assert not cabinet.blobs.admits(51)
