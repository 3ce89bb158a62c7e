"""Two stores on one folder, as two processes have it: what happens between two calls of one, by the other."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Repository
from mirror.proxy.routing import Route
from mirror.store import files
from mirror.store.folder import Folder
from mirror.store.partial import Partial
from mirror.store.rows import Rows
from tests.unit.recorder import Recorder
from tests.unit.store.cabinet import Cabinet

SIZE = 1000
ROOM = 5 * SIZE // 2


def data(seed: int) -> bytes:
    return bytes([seed]) * SIZE


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Cabinet]:
    async with Cabinet(tmp_path, ROOM) as opened:
        yield opened


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Cabinet]:
    async with Cabinet(tmp_path, ROOM) as opened:
        yield opened


def size_of(cabinet: Cabinet) -> int:
    """Bytes of all committed files."""
    return sum(file.stat().st_size for file in cabinet.path.glob("blobs/*/*"))


def once(act: Callable[[], object]) -> Callable[[], object]:
    """The same, the first time only."""
    left = [act]
    return lambda: left.pop()() if left else None


async def test_who_looks_at_what_others_did_while_somebody_does_takes_nothing_from_what_came_meanwhile(
    one: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate, listed = threading.Event(), threading.Event(), one.committed.files

    def slow() -> Iterator[tuple[Digest, int, float]]:
        found = list(listed())
        begun.set()
        gate.wait(60)
        return iter(found)

    monkeypatch.setattr(one.committed, "files", slow)
    first = asyncio.create_task(one.committed.refresh(at_once=True))
    await asyncio.to_thread(begun.wait, 60)
    try:
        await one.manifests.put(Manifest(Digest.of(b"{}"), OCI_MANIFEST, b"{}"))
        second = asyncio.create_task(one.committed.refresh(at_once=True))
        await asyncio.sleep(0)
    finally:
        gate.set()
    await asyncio.gather(first, second)
    assert one.index.manifests == 1


async def test_a_file_that_goes_while_the_folder_is_listed_is_passed_over(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).touch()
    listing = folder.entries()
    next(listing)
    for name in ("a", "b"):
        (tmp_path / name).unlink()
    assert list(listing) == []
    folder.close()


async def test_who_gives_up_does_not_take_the_page_of_who_comes_after(
    one: Cabinet, other: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, loop = Digest.of(data(1)), asyncio.get_running_loop()
    failed = await one.claim(digest)
    await failed.append(b"wrong")
    claimed: list[Partial | None] = []
    come = once(lambda: claimed.append(_wait_for(loop, other.blobs.claim(digest))))
    original = Folder.remove

    def remove(folder: Folder, name: str) -> None:
        original(folder, name)
        come()

    monkeypatch.setattr(Folder, "remove", remove)
    await failed.discard()
    monkeypatch.undo()
    await failed.close()
    partial = claimed[0] or await other.claim(digest)
    assert await partial.expect(SIZE)
    await partial.append(data(1))
    followed = await one.follow(digest)
    assert (await followed.look()).prefix == SIZE
    await followed.close()
    await partial.discard()
    await partial.close()


async def test_a_process_that_comes_while_another_looks_who_is_there(
    one: Cabinet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making its file and locking it, it looks like a dead one."""
    looks = [0]
    original = files.try_lock

    def try_lock(fd: int) -> bool:
        looks[0] += 1
        if looks[0] == 1:
            # The one that looks holds the lock for a moment.
            held = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
            try:
                assert original(held)
                return original(fd)
            finally:
                os.close(held)
        return original(fd)

    monkeypatch.setattr(files, "try_lock", try_lock)
    async with Cabinet(tmp_path) as other:
        monkeypatch.undo()
        digest = await other.store(data(1))
        await one.room.tidy()
        assert digest in one.index


async def test_what_a_process_stored_last_is_known_to_those_that_stay(one: Cabinet) -> None:
    async with Cabinet(one.path, ROOM) as other:
        await one.room.tidy()
        digest = await other.store(data(1))
    await one.room.tidy()
    assert digest in one.index


async def test_what_a_process_stored_that_came_and_went_unseen_is_known(one: Cabinet) -> None:
    await one.room.tidy()
    async with Cabinet(one.path, ROOM) as other:
        digest = await other.store(data(1))
    await one.room.tidy()
    assert digest in one.index


async def test_a_blob_that_is_committed_while_room_is_made_counts(
    one: Cabinet, other: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.store(data(1))
    growing = await other.begin(data(2))
    loop = asyncio.get_running_loop()
    commit = once(lambda: _wait_for(loop, growing.commit()))
    original = Folder.entries

    def entries(folder: Folder) -> Any:
        if folder is one.folders.partial:
            commit()
        return original(folder)

    monkeypatch.setattr(Folder, "entries", entries)
    partial = await one.begin(data(3))
    monkeypatch.undo()
    await partial.commit()
    assert size_of(one) <= ROOM
    for each in (growing, partial):
        await each.close()


def _wait_for(loop: asyncio.AbstractEventLoop, coroutine: Any) -> Any:
    """Run it in the loop, from a thread of the store."""
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)


async def test_a_damaged_table_is_moved_aside_by_one_of_those_that_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"no database" * 1000)
    one, other = Rows(folder, Recorder()), Rows(folder, Recorder())
    both_found, one_is_done = threading.Barrier(2, timeout=5), threading.Event()
    original, turns = Rows._connect, iter(range(2))

    def connect(rows: Rows) -> object:
        try:
            return original(rows)
        except sqlite3.DatabaseError:
            both_found.wait()
            if next(turns):
                one_is_done.wait(5)
            raise

    monkeypatch.setattr(Rows, "_connect", connect)

    async def open_and_write(rows: Rows) -> None:
        await rows.open()
        await rows.write({"key": "value"})
        one_is_done.set()

    await asyncio.gather(open_and_write(one), open_and_write(other))
    monkeypatch.undo()
    await one.write({"seen": "by both"})
    assert await other.get("seen") == "by both"
    assert await one.get("key") == "value"
    for rows in (one, other):
        await rows.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
async def test_a_table_is_not_moved_aside_for_a_disk_that_is_full_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder = tmp_path / "records"
    before = Rows(folder, Recorder())
    await before.open()
    await before.write({"key": "value"})
    await before.close()

    def refuse(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("refused")
        error.sqlite_errorcode = code
        raise error

    rows = Rows(folder, Recorder())
    with monkeypatch.context() as patched:
        patched.setattr("mirror.store.rows.diskcache.Cache", refuse)
        await rows.open()
    assert os.listdir(tmp_path) == ["records"]
    await rows.close()


async def test_of_a_file_that_is_taken_over_nothing_is_seen_before_upstream_agreed(
    one: Cabinet, other: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The yes that a dead writer had is not its successor's."""
    digest = Digest.of(data(1) * 2)
    dead = await one.claim(digest)
    assert await dead.expect(SIZE + 1)
    await dead.append(data(1))
    await dead.close()
    seen = []
    loop = asyncio.get_running_loop()
    original = files.pieces

    def pieces(fd: int, start: int, stop: int) -> Any:
        seen.append(_wait_for(loop, look()))
        return original(fd, start, stop)

    async def look() -> bool:
        followed = await other.follow(digest)
        sighting = await followed.look()
        await followed.close()
        return sighting.is_agreed

    monkeypatch.setattr(files, "pieces", pieces)
    partial = await one.claim(digest)
    assert seen == [False]
    await partial.discard()
    await partial.close()


async def test_a_yes_that_another_forgot_meanwhile_is_noted_again(one: Cabinet, other: Cabinet) -> None:
    """A manifest is granted before it is there; whoever tidies up just then forgets the row."""
    route, digest = Route("docker.io", Repository("library/alpine")), Digest.of(data(1))

    async def none_of_them(_: set[Digest]) -> set[Digest]:
        return set()

    await one.records.grant(route, digest)
    await other.records.prune(lambda _: False, none_of_them)
    await one.records.grant(route, digest)
    assert await other.records.granted(route, digest)
