from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BodyCut
from mirror.proxy.fills.progress import HOLD_BACK, Progress
from mirror.proxy.interfaces.fills import FillState
from tests.unit.virtual_time import in_virtual_time, settle

sizes = st.one_of(
    st.integers(0, 4 * HOLD_BACK), st.sampled_from([HOLD_BACK - 1, HOLD_BACK, HOLD_BACK + 1, 2 * HOLD_BACK])
)
pieces = st.lists(st.integers(1, 2 * HOLD_BACK), max_size=8)
GOOD = (FillState.VERIFIED, FillState.COMMITTED)


def observed(total: int | None, arriving: list[int], progress: Progress) -> list[int]:
    """Let the pieces arrive, no more than declared; return what was sendable after each."""
    seen = [progress.sendable]
    for size in arriving:
        progress.advance(size if total is None else min(size, total - progress.prefix))
        seen.append(progress.sendable)
    return seen


@given(sizes, pieces)
def test_the_end_of_a_measured_blob_is_held_back(total: int, arriving: list[int]) -> None:
    progress = Progress(total)
    for sendable in observed(total, arriving, progress):
        assert 0 <= sendable <= total - min(HOLD_BACK, total)
    assert progress.sendable <= progress.prefix
    assert progress.sendable == min(progress.prefix, total - min(HOLD_BACK, total))


@given(pieces)
def test_the_end_of_an_unmeasured_blob_is_held_back(arriving: list[int]) -> None:
    progress = Progress(None)
    observed(None, arriving, progress)
    assert progress.sendable == max(0, progress.prefix - HOLD_BACK)


@given(st.none() | sizes, pieces, st.sampled_from([GOOD[:1], GOOD]))
def test_what_may_be_sent_only_grows(total: int | None, arriving: list[int], states: tuple[FillState, ...]) -> None:
    progress = Progress(total)
    seen = observed(total, arriving, progress)
    for state in states:
        progress.enter(state)
        seen.append(progress.sendable)
    assert seen == sorted(seen)
    assert progress.sendable == progress.prefix == progress.total


@given(sizes, pieces)
def test_a_failed_fill_gives_nothing_more(total: int, arriving: list[int]) -> None:
    progress = Progress(total)
    before = observed(total, arriving, progress)[-1]
    progress.enter(FillState.FAILED)
    assert progress.sendable <= before


@in_virtual_time
async def test_a_reader_waits_for_bytes_behind_its_offset() -> None:
    progress = Progress(3 * HOLD_BACK)
    reader = asyncio.create_task(progress.beyond(0))
    await settle()
    assert not reader.done()
    progress.advance(100)
    assert await reader == 100
    assert await progress.beyond(50) == 100


@in_virtual_time
async def test_a_reader_waits_for_the_digest_before_the_last_bytes() -> None:
    progress = Progress(HOLD_BACK + 10)
    progress.advance(HOLD_BACK + 10)
    assert await progress.beyond(0) == 10
    reader = asyncio.create_task(progress.beyond(10))
    await settle()
    assert not reader.done()
    progress.enter(FillState.VERIFIED)
    assert await reader == HOLD_BACK + 10
    assert await progress.beyond(HOLD_BACK + 10) == HOLD_BACK + 10


@in_virtual_time
async def test_all_readers_wake() -> None:
    progress = Progress(10)
    readers = [asyncio.create_task(progress.beyond(at)) for at in range(10)]
    await settle()
    progress.advance(10)
    progress.enter(FillState.VERIFIED)
    assert await asyncio.gather(*readers) == [10] * 10


@pytest.mark.parametrize("offset", [0, 5])
@in_virtual_time
async def test_a_failure_cuts_every_reader(offset: int) -> None:
    progress = Progress(3 * HOLD_BACK)
    waiting = asyncio.create_task(progress.beyond(offset))
    await settle()
    progress.enter(FillState.FAILED)
    with pytest.raises(BodyCut):
        await waiting
    with pytest.raises(BodyCut):
        await progress.beyond(offset)


@in_virtual_time
async def test_a_failure_cuts_a_reader_that_lags_behind_as_well() -> None:
    progress = Progress(3 * HOLD_BACK)
    progress.advance(HOLD_BACK)
    progress.enter(FillState.FAILED)
    with pytest.raises(BodyCut):
        await progress.beyond(0)


@in_virtual_time
async def test_an_empty_blob_ends_only_when_verified() -> None:
    progress = Progress(0)
    reader = asyncio.create_task(progress.beyond(0))
    await settle()
    assert not reader.done()
    progress.enter(FillState.VERIFIED)
    assert await reader == 0


@pytest.mark.parametrize("state", [FillState.VERIFIED, FillState.FAILED])
@in_virtual_time
async def test_it_is_settled_once_verified_or_failed(state: FillState) -> None:
    progress = Progress(HOLD_BACK)
    settled = asyncio.create_task(progress.settled())
    progress.advance(HOLD_BACK)
    await settle()
    assert not settled.done()
    progress.enter(state)
    await settled


@in_virtual_time
async def test_a_reader_that_goes_leaves_the_others() -> None:
    progress = Progress(None)
    gone, staying = (asyncio.create_task(progress.beyond(0)) for _ in range(2))
    await settle()
    gone.cancel()
    await settle()
    progress.advance(HOLD_BACK + 1)
    assert await staying == 1
