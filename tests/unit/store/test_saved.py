"""The copy of the records: written once a minute by all processes together, and never an older one over a newer one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.store.saved import Saved
from tests.unit.proxy.doubles import SettableClock
from tests.unit.store.cabinet import Cabinet

MINUTE = 60.0
NOW = 1_000_000.0


class Process:
    """A process that has the folder open, and looks after the copy as the cache does; all have one clock."""

    def __init__(self, cabinet: Cabinet, clock: SettableClock) -> None:
        self.cabinet = cabinet
        self._clock = clock
        self.saved = Saved(cabinet.folders, cabinet.records, cabinet.index, cabinet.threads, clock)

    async def changes(self, name: bytes) -> None:
        """Store a manifest."""
        digest = await self.cabinet.store(name)
        await self.cabinet.records.put_media_type(digest, OCI_MANIFEST)

    async def tends(self) -> bool:
        """Write the copy if it is due; tell whether it was."""
        began = self._clock()
        await self.cabinet.room.tidy()
        async with self.saved.turn():
            is_due = await self.saved.is_due()
            if is_due:
                await self.saved.write(began)
        return is_due


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
async def pair(tmp_path: Path, clock: SettableClock) -> AsyncIterator[list[Process]]:
    """Two processes, in whose folder a copy was written just now that both have seen."""
    async with Cabinet(tmp_path) as one, Cabinet(tmp_path) as other:
        pair = [Process(one, clock), Process(other, clock)]
        clock.now += 1
        await pair[0].changes(b"first")
        assert await pair[0].tends()
        clock.now += 1
        yield pair


def told(folder: Path) -> set[str]:
    """Return the digests that the copy tells of."""
    return {entry["digest"] for entry in json.loads((folder / "index.json").read_bytes())["manifests"]}


async def test_what_one_wrote_after_both_began_the_other_need_not_write(
    pair: list[Process], clock: SettableClock
) -> None:
    clock.now += 2 * MINUTE
    assert not await pair[1].tends()


async def test_what_one_wrote_it_writes_no_second_time(pair: list[Process], clock: SettableClock) -> None:
    clock.now += 2 * MINUTE
    assert not await pair[0].tends()


async def test_what_came_while_one_wrote_it_writes_later(
    tmp_path: Path, pair: list[Process], clock: SettableClock
) -> None:
    clock.now += MINUTE
    rows = pair[0].cabinet.records.rows

    async def then_more() -> dict[str, str]:
        before = await rows()
        await pair[0].changes(b"late")
        return before

    pair[0].cabinet.records.rows = then_more  # type: ignore[method-assign]
    await pair[0].changes(b"second")
    assert await pair[0].tends()
    assert len(told(tmp_path)) == 2
    pair[0].cabinet.records.rows = rows  # type: ignore[method-assign]
    clock.now += MINUTE
    assert await pair[0].tends()
    assert len(told(tmp_path)) == 3


async def test_of_many_changes_of_both_one_copy_a_minute_is_written(
    tmp_path: Path, pair: list[Process], clock: SettableClock
) -> None:
    writes = 0
    for number in range(40):
        clock.now += 6
        await pair[number % 2].changes(b"%d" % number)
        writes += await pair[0].tends() + await pair[1].tends()
    assert writes == 4
    clock.now += MINUTE
    assert await pair[0].tends() or await pair[1].tends()
    assert len(told(tmp_path)) == 41
    clock.now += 2 * MINUTE
    assert not await pair[0].tends()
    assert not await pair[1].tends()


async def test_what_came_while_another_wrote_is_written_in_its_turn(
    tmp_path: Path, pair: list[Process], clock: SettableClock
) -> None:
    clock.now += MINUTE
    began = clock()
    clock.now += 3
    await pair[1].changes(b"late")
    assert await pair[1].saved.is_due()
    await pair[0].saved.write(began)
    assert str(Digest.of(b"late")) not in told(tmp_path)
    clock.now += MINUTE
    assert await pair[1].tends()
    assert str(Digest.of(b"late")) in told(tmp_path)


@pytest.mark.parametrize("off", [-10 * MINUTE, 10 * MINUTE], ids=["back", "forth"])
async def test_a_clock_that_was_set_keeps_nobody_from_writing(
    pair: list[Process], clock: SettableClock, off: float, tmp_path: Path
) -> None:
    os.utime(tmp_path / "index.json", (clock.now - off,) * 2)
    await pair[1].changes(b"second")
    assert await pair[1].tends()


async def test_a_copy_that_was_removed_is_written_again(pair: list[Process], tmp_path: Path) -> None:
    (tmp_path / "index.json").unlink()
    assert await pair[1].tends()


async def test_what_cannot_be_written_is_tried_once_a_minute(
    pair: list[Process], clock: SettableClock, tmp_path: Path
) -> None:
    (tmp_path / "index.json").unlink()
    (tmp_path / "index.json").mkdir()
    with pytest.raises(Exception, match="disk refused"):
        await pair[1].tends()
    clock.now += 5
    assert not await pair[1].tends()
    (tmp_path / "index.json").rmdir()
    clock.now += MINUTE
    assert await pair[1].tends()


async def test_one_at_a_time_has_its_turn(pair: list[Process]) -> None:
    async with pair[0].saved.turn():
        waiting = asyncio.create_task(pair[1].tends())
        await asyncio.sleep(0.1)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 60)
