"""What counts as age: time in which a mirror ran; and what goes by it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.proxy.events.store import Evicted
from mirror.proxy.events.troubles import StoreTroubled
from mirror.store import drafts
from mirror.store.eviction import Eviction
from mirror.store.folder import Folder
from mirror.store.watch import ABSENT_SECONDS, NAME, Watch, _parse, _render
from tests.unit.store.cabinet import Cabinet

DAY = 86400.0
NOW = 1_700_000_000.0


def kept(start: float, *spans: float) -> Watch:
    """The watch since `start`, somebody having been there again after each of these seconds."""
    watch, now = Watch(start), start
    for span in spans:
        now += span
        watch = watch.at(now)
    return watch


def test_what_was_before_the_watch_does_not_count() -> None:
    watch = Watch.begin(NOW)
    assert watch.absent(NOW - 400 * DAY) == 400 * DAY
    assert watch.absent(NOW) == watch.absent(NOW + 1) == 0


def test_a_short_absence_counts_and_a_long_one_does_not() -> None:
    assert kept(NOW, ABSENT_SECONDS - 1, ABSENT_SECONDS - 1).absences == ()
    assert kept(NOW, ABSENT_SECONDS).absences == ((NOW, NOW + ABSENT_SECONDS),)


def test_only_what_is_after_the_last_use_is_taken_from_the_age() -> None:
    watch = kept(NOW, 60, DAY, 60, 2 * DAY)
    assert watch.absent(NOW) == 3 * DAY
    assert watch.absent(NOW + 60 + DAY / 2) == 2.5 * DAY
    assert watch.absent(NOW + 60 + DAY + 60 + 2 * DAY) == 0


def test_a_clock_that_was_ahead_for_a_while_leaves_no_absence_to_come() -> None:
    watch = kept(NOW, 60, 365 * DAY, 60, 60 - 365 * DAY)
    assert watch.seen_at == NOW + 180
    assert watch.absences == ((NOW + 60, NOW + 180),)


def test_absences_are_bounded() -> None:
    assert len(kept(NOW, *[DAY] * 3000).absences) == 1000


@given(st.lists(st.floats(-1e6, 1e6), max_size=20), st.floats(0, 2e6))
def test_the_age_that_counts_is_never_more_than_the_age(spans: list[float], since: float) -> None:
    watch = kept(1e6, *spans)
    assert 0 <= watch.absent(since) <= max(0.0, watch.seen_at - since) + 1e-3
    assert _parse(_render(watch)) == watch


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"[1, 2]", b"[1, [[1]]]", b"[NaN, []]", b'["x", []]', b"[" * 9999])
def test_what_is_damaged_is_as_good_as_none(data: bytes) -> None:
    assert _parse(data) is None


# What goes by age. ---------------------------------------------------------------------------------------


TTL = 3600.0


async def run(cabinet: Cabinet, seconds: float) -> list[Digest]:
    """Have a mirror run for so long; return what went meanwhile."""
    before, end = len(cabinet.observer.of(Evicted)), cabinet.clock.now + seconds
    while cabinet.clock.now < end:
        cabinet.clock.now = min(end, cabinet.clock.now + 600)
        await cabinet.room.tidy()
    return [event.digest for event in cabinet.observer.of(Evicted)[before:]]


async def test_what_nobody_used_while_a_mirror_ran_goes(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, unused=TTL) as cabinet:
        old, young = await cabinet.store(b"old"), await cabinet.store(b"young")
        assert await run(cabinet, TTL - 3) == []
        cabinet.index.touch(young)
        assert await run(cabinet, 1) == [old]
        assert await run(cabinet, TTL) == [young]


@pytest.mark.parametrize("jump", [TTL, 400 * DAY])
async def test_a_mirror_that_was_off_or_whose_clock_jumps_keeps_its_cache(tmp_path: Path, jump: float) -> None:
    async with Cabinet(tmp_path, unused=TTL) as cabinet:
        blob = await cabinet.store(b"blob")
        assert await run(cabinet, TTL / 2) == []
        cabinet.clock.now += jump
        await cabinet.room.tidy()
        assert await run(cabinet, TTL / 2 - 2) == []
        assert await run(cabinet, 10) == [blob]


async def test_a_clock_that_jumps_between_the_look_at_it_and_the_eviction_empties_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cabinet(tmp_path, unused=TTL) as cabinet:
        await cabinet.store(b"blob")
        prepare = Eviction.prepare

        async def prepare_and_jump(eviction: Eviction) -> None:
            await prepare(eviction)
            cabinet.clock.now += 400 * DAY

        monkeypatch.setattr(Eviction, "prepare", prepare_and_jump)
        await cabinet.room.tidy()
        await cabinet.room.tidy()
        assert cabinet.observer.of(Evicted) == []


async def test_a_clock_that_was_set_back_neither_empties_the_cache_nor_keeps_it_for_ever(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, unused=TTL) as cabinet:
        cabinet.clock.now = 400 * DAY
        await cabinet.room.tidy()
        cabinet.clock.now = 600
        await cabinet.room.tidy()
        blob = await cabinet.store(b"blob")
        assert await run(cabinet, TTL - 10) == []
        assert await run(cabinet, 20) == [blob]


async def test_a_clock_that_jumps_takes_no_download_away_that_somebody_may_go_on_with(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as cabinet:
        left = await cabinet.leave(b"left")
        # All that files are written by is the machine's clock: it was a year behind until now.
        cabinet.clock.now = time.time() - 365 * DAY
        await cabinet.room.tidy()
        os.utime(left, (cabinet.clock.now,) * 2)
        cabinet.clock.now = time.time()
        await cabinet.room.tidy()
        cabinet.blobs.sweep()
        assert left.exists()


async def test_the_watch_is_that_of_all_processes(tmp_path: Path) -> None:
    async with Cabinet(tmp_path, unused=TTL) as cabinet, Cabinet(tmp_path, unused=TTL) as other:
        await cabinet.store(b"blob")
        await run(other, TTL / 2)
        cabinet.clock.now = other.clock.now
        await cabinet.room.tidy()
        assert cabinet.room.absent(0) == 0
        assert len(await run(cabinet, TTL / 2)) == 1


async def test_a_disk_that_takes_no_note_takes_no_age_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Folder, name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with Cabinet(tmp_path, unused=TTL) as cabinet:
        blob = await cabinet.store(b"blob")
        monkeypatch.setattr(drafts, "replace", refuse)
        assert await run(cabinet, TTL) == [blob]
        assert {event.doing for event in cabinet.observer.of(StoreTroubled)} == {"note that a mirror runs"}


async def test_nothing_is_written_every_time(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as cabinet:
        noted = (tmp_path / "run" / NAME).read_bytes()
        cabinet.clock.now += 59
        await cabinet.room.tidy()
        assert (tmp_path / "run" / NAME).read_bytes() == noted
        cabinet.clock.now += 1
        await cabinet.room.tidy()
        assert (tmp_path / "run" / NAME).read_bytes() != noted
