from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.store import committed as committed_module
from mirror.store import files, folder
from tests.unit.store.cabinet import Cabinet, open_files
from tests.unit.store.rot import refuse, rewrite

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
    assert cabinet.committed.is_leased(DIGEST)
    second.close()
    assert not cabinet.committed.is_leased(DIGEST)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files open without a wait, whatever kernel and disk this is."""
    monkeypatch.setattr(folder, "can_tell", lambda _: True)
    monkeypatch.setattr(folder, "open_at_once", os.open)


@pytest.mark.usefixtures("at_once")
async def test_a_blob_that_is_at_hand_is_leased_and_renewed(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    second = await cabinet.store(b"second")
    await opens(cabinet, DIGEST)
    await opens(cabinet, second)
    body = cabinet.blobs.at_hand(DIGEST)
    assert body is not None
    assert (body.size, os.pread(body.fileno(), 100, 0)) == (len(DATA), DATA)
    assert cabinet.committed.is_leased(DIGEST)
    assert [digest for digest, _ in cabinet.index.first_to_go()] == [second, DIGEST]
    body.close()
    assert not cabinet.committed.is_leased(DIGEST)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("what", ["unknown", "gone", "another size", "would wait", "no descriptor"])
async def test_what_has_to_be_looked_into_is_not_at_hand(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await cabinet.store(DATA)
    await opens(cabinet, DIGEST)
    match what:
        case "unknown":
            cabinet.index.remove(DIGEST)
        case "gone":
            cabinet.file(DIGEST).unlink()
        case "another size":
            rewrite(cabinet.file(DIGEST), DATA + b"more")
        case "would wait":
            refuse(monkeypatch, folder, "open_at_once", errno.EAGAIN)
        case "no descriptor":
            refuse(monkeypatch, folder, "open_at_once", errno.EMFILE)
    before = open_files()
    assert cabinet.blobs.at_hand(DIGEST) is None
    assert open_files() == before
    assert not cabinet.committed.is_leased(DIGEST)


async def opens(cabinet: Cabinet, digest: Digest) -> None:
    """Have it opened the usual way, which also learns whether files of this disk open at once."""
    body = await cabinet.blobs.open(digest)
    assert body is not None
    body.close()


async def test_a_removed_blob_stays_with_its_readers(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    await cabinet.blobs.remove(DIGEST)
    assert DIGEST not in cabinet.index
    assert await cabinet.blobs.open(DIGEST) is None
    assert os.pread(body.fileno(), 100, 0) == DATA
    body.close()


async def test_a_blob_in_doubt_is_not_served_again(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    await body.doubt()
    assert await cabinet.blobs.open(DIGEST) is None
    assert not cabinet.file(DIGEST).exists()
    body.close()


async def test_a_blob_in_doubt_that_does_not_go_is_nobody_s_trouble(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    cabinet.file(DIGEST).unlink()
    cabinet.file(DIGEST).mkdir()
    await body.doubt()
    body.close()
    assert await cabinet.blobs.open(DIGEST) is None


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
    assert not cabinet.committed.is_leased(DIGEST)


async def test_a_client_that_leaves_while_a_file_in_doubt_is_read_leaves_nothing_open(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow(*_: object) -> Iterator[bytes]:
        begun.set()
        gate.wait(10)
        return iter([DATA])

    await cabinet.store(DATA)
    rewrite(cabinet.file(DIGEST), DATA[:-1])
    monkeypatch.setattr(files, "pieces", slow)
    before = open_files()
    opening = asyncio.create_task(cabinet.blobs.open(DIGEST))
    await asyncio.to_thread(begun.wait, 10)
    opening.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not cabinet.committed.is_leased(DIGEST)
    assert open_files() == before


async def test_a_file_in_doubt_that_the_disk_cannot_read_is_no_hit(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cabinet.store(DATA)
    rewrite(cabinet.file(DIGEST), DATA[:-1])
    before = open_files()
    refuse(monkeypatch, files, "pieces", errno.EIO)
    assert await cabinet.blobs.open(DIGEST) is None
    assert not cabinet.file(DIGEST).exists()
    assert not cabinet.committed.is_leased(DIGEST)
    assert open_files() == before


async def test_a_file_in_doubt_that_could_not_be_read_for_now_stays(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cabinet.store(DATA)
    rewrite(cabinet.file(DIGEST), DATA[:-1])
    before = open_files()
    refuse(monkeypatch, files, "pieces", errno.ENOMEM)
    with pytest.raises(StoreFailed):
        await cabinet.blobs.open(DIGEST)
    assert cabinet.file(DIGEST).exists()
    assert not cabinet.committed.is_leased(DIGEST)
    assert open_files() == before


async def test_a_link_is_no_hit(cabinet: Cabinet, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(DATA)
    cabinet.file(DIGEST).symlink_to(tmp_path / "outside")
    assert await cabinet.blobs.open(DIGEST) is None
    assert list(cabinet.committed.files()) == []


async def test_reading_renews(cabinet: Cabinet) -> None:
    first, second = await cabinet.store(b"first"), await cabinet.store(b"second")
    body = await cabinet.blobs.open(first)
    assert body is not None
    body.close()
    assert [digest for digest, _ in cabinet.index.first_to_go()] == [second, first]


@pytest.mark.parametrize("name", ["short", "." + "0" * 64, "A" * 64, "0" * 64 + ".new", "\udcff"])
async def test_what_is_no_blob_is_passed_over(cabinet: Cabinet, name: str) -> None:
    await cabinet.store(DATA)
    (cabinet.path / "blobs" / "sha256" / name).write_bytes(b"garbage")
    assert [digest for digest, _, _ in cabinet.committed.files()] == [DIGEST]


async def test_what_the_disk_will_not_remove_still_counts(cabinet: Cabinet) -> None:
    await cabinet.manifests.put(Manifest(DIGEST, OCI_MANIFEST, DATA))
    cabinet.file(DIGEST).unlink()
    cabinet.file(DIGEST).mkdir()
    with pytest.raises(StoreFailed):
        await cabinet.blobs.remove(DIGEST)
    entry = cabinet.index.get(DIGEST)
    assert entry is not None
    assert (entry.size, entry.is_manifest) == (len(DATA), True)
    cabinet.file(DIGEST).rmdir()
    await cabinet.blobs.remove(DIGEST)
    assert (cabinet.index.size, len(cabinet.index)) == (0, 0)


async def test_what_the_index_never_knew_is_not_put_into_it_by_a_failed_removal(cabinet: Cabinet) -> None:
    cabinet.file(DIGEST).mkdir()
    with pytest.raises(StoreFailed):
        await cabinet.blobs.remove(DIGEST)
    assert DIGEST not in cabinet.index


async def test_whether_the_disk_can_be_read(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cabinet.committed.readable()

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "scandir", broken)
    assert not cabinet.committed.readable()


# Two processes. --------------------------------------------------------------------------------------------


async def test_what_another_process_commits_and_removes_is_learned(cabinet: Cabinet, tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as other:
        mine, lost = await cabinet.store(b"mine"), await cabinet.store(b"lost")
        theirs = await other.store(b"theirs")
        await other.committed.remove(lost)
        await cabinet.committed.refresh()
        assert {digest for digest, _ in cabinet.index.first_to_go()} == {mine, theirs}
        assert cabinet.index.size == len(b"mine") + len(b"theirs")


async def test_what_another_process_uses_goes_later_though_that_is_not_looked_up_every_time(
    cabinet: Cabinet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cabinet(tmp_path) as other:
        first, second = await cabinet.store(b"first"), await cabinet.store(b"second")
        await cabinet.committed.refresh()
        await other.committed.refresh()
        cabinet.clock.now = other.clock.now = 1000
        other.index.touch(first)
        await other.index.flush()
        await cabinet.committed.refresh()
        assert [digest for digest, _ in cabinet.index.first_to_go()] == [first, second]
        monkeypatch.setattr(committed_module, "_MERGE_SECONDS", 0.0)
        await cabinet.committed.refresh()
        assert [digest for digest, _ in cabinet.index.first_to_go()] == [second, first]


async def test_what_is_committed_while_the_folder_is_looked_through_stays_known(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await cabinet.store(b"gone")
    files = cabinet.committed.files
    loop = asyncio.get_running_loop()

    def slowly() -> object:
        found = list(files())
        for change in (cabinet.store(DATA), cabinet.committed.remove(gone)):
            asyncio.run_coroutine_threadsafe(change, loop).result(60)
        return found

    monkeypatch.setattr(cabinet.committed, "files", slowly)
    await cabinet.committed.refresh()
    assert [digest for digest, _ in cabinet.index.first_to_go()] == [DIGEST]
