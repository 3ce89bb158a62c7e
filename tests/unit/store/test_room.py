from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.proxy.events.store import CacheResized, Evicted
from mirror.proxy.events.troubles import StoreTroubled
from mirror.store import files, turns
from mirror.store.partial import STEP, Partial
from tests.unit.store.cabinet import Cabinet, open_files


def evicted(cabinet: Cabinet) -> list[Digest]:
    return [event.digest for event in cabinet.observer.of(Evicted)]


def in_order(cabinet: Cabinet) -> list[Digest]:
    return [digest for digest, _ in cabinet.index.first_to_go()]


def find(cabinet: Cabinet, data: bytes) -> Digest:
    """A blob that somebody put there, which makes the cache no smaller."""
    digest = Digest.of(data)
    cabinet.file(digest).write_bytes(data)
    cabinet.clock.now += 1
    cabinet.index.add(digest, len(data), is_manifest=False)
    return digest


# Within the limit. -----------------------------------------------------------------------------------------


async def test_what_fits_stays(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=30) as cabinet:
        for name in (b"a", b"b", b"c"):
            await cabinet.store(name * 10)
        await cabinet.room.make_room()
        assert evicted(cabinet) == []
        assert cabinet.observer.of(CacheResized)[-1] == CacheResized(30, 0, 3)


async def test_the_least_recently_used_go_and_no_more_than_needed(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=25) as cabinet:
        a, b, c, d = [find(cabinet, name * 10) for name in (b"a", b"b", b"c", b"d")]
        cabinet.index.touch(a)
        await cabinet.room.make_room()
        assert evicted(cabinet) == [b, c]
        assert in_order(cabinet) == [d, a]
        assert not cabinet.file(b).exists()
        assert cabinet.file(a).exists()
        assert cabinet.observer.of(CacheResized)[-1].size == 20


async def test_what_has_landed_counts_once_before_it_is_known(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=40) as cabinet:
        landing, partial = await cabinet.begin(b"a" * 20), await cabinet.claim(Digest.of(b"b"))
        cabinet.room.lands("another", 5)
        assert not await partial.expect(20)
        cabinet.room.landed("another")
        [name] = [name for name in cabinet.partial_files if cabinet.path.joinpath("partial", name).stat().st_size]
        cabinet.room.lands(name, 20)
        assert await partial.expect(20)
        for one in (landing, partial):
            await one.close()


async def test_a_commit_leaves_nothing_that_has_landed_and_is_not_known(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=40) as cabinet:
        await cabinet.store(b"a" * 20)
        partial = await cabinet.claim(Digest.of(b"b"))
        assert await partial.expect(20)
        assert evicted(cabinet) == []
        await partial.close()


async def test_room_that_is_there_is_reserved_in_one_call_of_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        partial = await cabinet.claim(Digest.of(b"b"))
        calls: list[object] = []
        run = cabinet.threads.reserving.run

        async def noting(call: Callable[..., object], *args: object) -> object:
            calls.append(call)
            return await run(call, *args)

        monkeypatch.setattr(cabinet.threads.reserving, "run", noting)
        assert await partial.expect(20)
        assert len(calls) == 1
        await partial.close()


async def test_what_is_read_stays(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=5) as cabinet:
        a, b = find(cabinet, b"a" * 10), find(cabinet, b"b" * 10)
        body = await cabinet.blobs.open(a)
        assert body is not None
        await cabinet.room.make_room()
        assert evicted(cabinet) == [b]
        body.close()
        await cabinet.room.make_room()
        assert evicted(cabinet) == [b, a]
        assert cabinet.index.size == 0


async def test_many_at_once_evict_each_file_once(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=50) as cabinet:
        for number in range(20):
            find(cabinet, b"%10d" % number)
        await asyncio.gather(*(cabinet.room.make_room() for _ in range(10)))
        assert len(evicted(cabinet)) == len(set(evicted(cabinet))) == 15


async def test_a_file_that_does_not_go_ends_the_round_and_does_not_stop_the_next_ones(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=5) as cabinet:
        a, b = find(cabinet, b"a" * 10), find(cabinet, b"b" * 10)
        cabinet.file(a).unlink()
        cabinet.file(a).mkdir()
        await cabinet.room.make_room()
        assert evicted(cabinet) == []
        assert [event.doing for event in cabinet.observer.of(StoreTroubled)] == ["eviction"]
        assert cabinet.index.size == 20
        await cabinet.room.make_room()
        assert evicted(cabinet) == [b]
        assert a in cabinet.index
        assert cabinet.observer.of(CacheResized)[-1].size == 10


async def test_a_disk_that_removes_nothing_does_not_keep_the_eviction_busy(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=5) as cabinet:
        for name in (b"a", b"b", b"c"):
            digest = find(cabinet, name * 10)
            cabinet.file(digest).unlink()
            cabinet.file(digest).mkdir()
        for rounds in (1, 2, 3):
            await asyncio.wait_for(cabinet.room.make_room(), 60)
            assert len(cabinet.observer.of(StoreTroubled)) == rounds
        assert evicted(cabinet) == []
        assert (cabinet.index.size, len(cabinet.index)) == (30, 3)


async def test_blobs_go_before_manifests(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=20) as cabinet:
        manifest = Manifest(Digest.of(b"m" * 10), OCI_MANIFEST, b"m" * 10)
        await cabinet.manifests.put(manifest)
        a, b = find(cabinet, b"a" * 10), find(cabinet, b"b" * 10)
        await cabinet.room.make_room()
        assert evicted(cabinet) == [a]
        assert {manifest.digest, b} == set(in_order(cabinet))
        await cabinet.manifests.put(Manifest(Digest.of(b"n" * 10), OCI_MANIFEST, b"n" * 10))
        assert evicted(cabinet) == [a, b]
        await cabinet.manifests.put(Manifest(Digest.of(b"o" * 10), OCI_MANIFEST, b"o" * 10))
        assert evicted(cabinet) == [a, b, manifest.digest]


@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), limit=st.integers(0, 100))
def test_afterwards_it_fits(sizes: list[int], limit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    async def scenario() -> None:
        async with Cabinet(tmp_path_factory.mktemp("cache"), max_size=limit) as cabinet:
            found = [find(cabinet, bytes([number]) * size) for number, size in enumerate(sizes)]
            await cabinet.room.make_room()
            assert cabinet.index.size <= limit
            on_disk = {digest for digest, _, _ in cabinet.committed.files()}
            assert on_disk == set(in_order(cabinet))
            assert [*evicted(cabinet), *(digest for digest in found if digest in on_disk)] == found

    uvloop.run(scenario())


# Before the first byte. ------------------------------------------------------------------------------------


async def expecting(cabinet: Cabinet, name: str, size: int) -> tuple[Partial, bool]:
    partial = await cabinet.claim(Digest.of(name.encode()))
    return partial, await partial.expect(size)


async def test_room_is_made_before_the_first_byte(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        a, b = await cabinet.store(b"a" * 40), await cabinet.store(b"b" * 40)
        partial, reserved = await expecting(cabinet, "new", 50)
        assert reserved
        assert evicted(cabinet) == [a]
        assert in_order(cabinet) == [b]
        await partial.close()


async def test_nothing_goes_for_what_is_too_large_to_be_kept(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        await cabinet.store(b"a" * 40)
        partial, reserved = await expecting(cabinet, "large", 51)
        assert not reserved
        assert evicted(cabinet) == []
        await partial.close()


async def test_what_others_fetch_counts_with_its_length(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet, Cabinet(tmp_path, max_size=100) as other:
        first, reserved = await expecting(cabinet, "first", 50)
        assert reserved
        second, reserved = await expecting(other, "second", 50)
        assert reserved
        third, reserved = await expecting(other, "third", 1)
        assert not reserved
        await first.discard()
        assert await third.expect(1)
        for partial in (first, second, third):
            await partial.close()


async def test_two_processes_that_reserve_at_once_do_not_take_the_same_room(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet, Cabinet(tmp_path, max_size=100) as other:
        partials = [await (cabinet, other)[number % 2].claim(Digest.of(b"%d" % number)) for number in range(8)]
        reserved = await asyncio.gather(*(partial.expect(25) for partial in partials))
        assert sum(reserved) == 4
        for partial in partials:
            await partial.close()


async def test_bytes_that_are_there_already_take_no_room(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        partial = await cabinet.claim(Digest.of(b"a" * 40))
        await partial.append(b"a" * 30)
        assert await partial.expect(40)
        assert await partial.expect(40)
        await partial.append(b"a" * 10)
        await partial.commit()
        await partial.close()
        assert cabinet.index.size == 40


async def test_what_nobody_goes_on_with_goes_before_what_is_complete(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        kept = await cabinet.store(b"a" * 40)
        await cabinet.leave(b"l" * 30)
        partial, reserved = await expecting(cabinet, "new", 40)
        assert reserved
        assert evicted(cabinet) == []
        assert cabinet.file(kept).exists()
        assert not cabinet.partial_file(Digest.of(b"l" * 30)).exists()
        assert cabinet.pages == [f"sha256-{Digest.of(b'new').encoded}"]
        await partial.close()


async def test_what_somebody_wrote_a_moment_ago_may_still_be_gone_on_with(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        for name in (b"a", b"b"):
            await cabinet.store(name * 30)
        left = await cabinet.leave(b"l" * 30)
        os.utime(left)
        partial, reserved = await expecting(cabinet, "new", 40)
        assert reserved
        assert left.exists()
        assert len(evicted(cabinet)) == 1
        await partial.close()


async def test_what_was_left_while_the_clock_was_ahead_goes_as_well(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        for name in (b"a", b"b"):
            await cabinet.store(name * 30)
        left = await cabinet.leave(b"l" * 30)
        os.utime(left, (time.time() + 1e7,) * 2)
        partial, reserved = await expecting(cabinet, "new", 40)
        assert reserved
        assert not left.exists()
        assert evicted(cabinet) == []
        await partial.close()


async def test_what_is_being_written_does_not_go(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet, Cabinet(tmp_path, max_size=100) as other:
        writing, reserved = await expecting(other, "w" * 50, 50)
        assert reserved
        await writing.append(b"w" * 20)
        partial, reserved = await expecting(cabinet, "new", 50)
        assert reserved
        more, reserved = await expecting(cabinet, "more", 20)
        assert not reserved
        assert len(cabinet.partial_files) == 3
        for one in (writing, partial, more):
            await one.close()


async def test_what_is_complete_does_not_go_to_the_last_for_one_blob(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        stored = [await cabinet.store(name * 20) for name in (b"a", b"b")]
        writing, reserved = await expecting(cabinet, "writing", 50)
        assert reserved
        # It would take 30 of the 40 bytes that are complete.
        partial, reserved = await expecting(cabinet, "large", 40)
        assert not reserved
        assert evicted(cabinet) == []
        partial_too, reserved = await expecting(cabinet, "smaller", 30)
        assert reserved
        assert evicted(cabinet) == [stored[0]]
        for one in (writing, partial, partial_too):
            await one.close()


async def test_what_is_read_is_not_evicted_for_a_reservation(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        for name in (b"a", b"b"):
            await cabinet.store(name * 50)
        bodies = [await cabinet.blobs.open(digest) for digest in in_order(cabinet)]
        partial, reserved = await expecting(cabinet, "new", 50)
        assert not reserved
        assert len(in_order(cabinet)) == 2
        for body in bodies:
            assert body is not None
            body.close()
        assert await partial.expect(50)
        await partial.close()


async def test_a_blob_of_unknown_length_reserves_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    async with Cabinet(tmp_path) as cabinet:
        reserve = cabinet.room.reserve

        async def noting(name: str, have: int, wanted: int, agreed: Callable[[], None]) -> bool:
            asked.append((have, wanted))
            return await reserve(name, have, wanted, agreed)

        monkeypatch.setattr(cabinet.room, "reserve", noting)
        monkeypatch.setattr("mirror.store.partial.STEP", 10)
        partial = await cabinet.claim(Digest.of(b"x"))
        assert await partial.expect(None)
        for size in (4, 4, 4, 15):
            await partial.append(b"y" * size)
        # Before what would be too much is written.
        assert asked == [(0, 10), (8, 18), (12, 22)]
        await partial.close()
    assert STEP > 10


# The disk. -------------------------------------------------------------------------------------------------


class Disk:
    """A disk with so many bytes free, beside what the cache has of its files."""

    def __init__(self, cabinet: Cabinet, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cabinet = cabinet
        self._free = free + self._used()
        monkeypatch.setattr(cabinet.folders.partial, "free_space", lambda: self._free - self._used())

    def _used(self) -> int:
        folders = (self._cabinet.folders.partial, *self._cabinet.folders.blobs.values())
        return sum(entry.size for folder in folders for entry in folder.entries())


async def test_so_much_of_the_disk_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Cabinet(tmp_path, min_free=100) as cabinet:
        a, b, c = [await cabinet.store(name * 40) for name in (b"a", b"b", b"c")]
        Disk(cabinet, 110, monkeypatch)
        partial, reserved = await expecting(cabinet, "new", 30)
        assert reserved
        assert evicted(cabinet) == [a]
        assert cabinet.observer.of(Evicted)[0].reason == "disk"
        assert in_order(cabinet) == [b, c]
        await partial.close()


async def test_bytes_that_others_have_still_to_write_are_not_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cabinet(tmp_path, min_free=100) as cabinet, Cabinet(tmp_path, min_free=100) as other:
        Disk(cabinet, 160, monkeypatch)
        Disk(other, 160, monkeypatch)
        first, reserved = await expecting(cabinet, "a" * 40, 40)
        assert reserved
        second, reserved = await expecting(other, "second", 30)
        assert not reserved
        await first.append(b"a" * 40)
        assert await second.expect(20)
        assert not await second.expect(21)
        for partial in (first, second):
            await partial.close()


async def test_a_disk_full_of_others_does_not_empty_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Cabinet(tmp_path, min_free=1000) as cabinet:
        for name in (b"a", b"b", b"c"):
            await cabinet.store(name * 40)
        Disk(cabinet, 0, monkeypatch)
        partial, reserved = await expecting(cabinet, "new", 10)
        assert not reserved
        assert evicted(cabinet) == []
        await partial.close()


async def test_what_was_evicted_and_frees_nothing_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Cabinet(tmp_path, min_free=100) as cabinet:
        for name in (b"a", b"b", b"c"):
            await cabinet.store(name * 40)
        # As if another process still read it.
        monkeypatch.setattr(cabinet.folders.partial, "free_space", lambda: 100)
        partial, reserved = await expecting(cabinet, "new", 30)
        assert not reserved
        assert len(evicted(cabinet)) == 1
        await partial.close()


# Processes. ------------------------------------------------------------------------------------------------


async def one_of_them_goes(cabinet: Cabinet, theirs: list[Digest]) -> None:
    partial, reserved = await expecting(cabinet, "new", 40)
    assert reserved
    assert len(evicted(cabinet)) == 1
    assert set(evicted(cabinet)) < set(theirs)
    await partial.close()


async def test_what_another_process_committed_counts_and_can_go(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet, Cabinet(tmp_path, max_size=100) as other:
        theirs = [await other.store(name * 40) for name in (b"a", b"b")]
        await one_of_them_goes(cabinet, theirs)


async def test_what_a_process_committed_that_came_and_went_counts(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        async with Cabinet(tmp_path, max_size=100) as other:
            theirs = [await other.store(name * 40) for name in (b"a", b"b")]
        await one_of_them_goes(cabinet, theirs)


async def test_nothing_is_reserved_at_once_while_another_makes_room(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet, Cabinet(tmp_path, max_size=100) as other:
        partial = await cabinet.claim(Digest.of(b"new"))
        async with other.room.turn():
            reserving = asyncio.create_task(partial.expect(40))
            await asyncio.sleep(0.1)
            assert not reserving.done()
        assert await asyncio.wait_for(reserving, 60)
        await partial.close()


async def test_one_process_at_a_time_makes_room(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        find(cabinet, b"a" * 101)
        fd = cabinet.folders.run.claim("room")
        assert fd is not None
        making = asyncio.create_task(cabinet.room.make_room())
        await asyncio.sleep(0.1)
        assert not making.done()
        assert evicted(cabinet) == []
        files.close(fd)
        await asyncio.wait_for(making, 60)
        assert len(evicted(cabinet)) == 1


async def test_a_process_that_was_stopped_keeps_nobody_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_LOCK_SECONDS", 0.1)
    async with Cabinet(tmp_path, max_size=100) as cabinet:
        find(cabinet, b"a" * 101)
        fd = cabinet.folders.run.claim("room")
        assert fd is not None
        before = open_files()
        await asyncio.wait_for(cabinet.room.make_room(), 60)
        assert len(evicted(cabinet)) == 1
        assert open_files() == before
        files.close(fd)


async def test_a_reservation_leaves_no_file_open(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, max_size=100) as cabinet, Cabinet(tmp_path, max_size=100):
        await cabinet.leave(b"l" * 50)
        await cabinet.store(b"s" * 50)
        before = open_files()
        partial, reserved = await expecting(cabinet, "new", 50)
        await partial.close()
        assert reserved
        assert open_files() == before
