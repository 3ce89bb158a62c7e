from __future__ import annotations

import asyncio
import os

import pytest

from mirror import errors
from mirror.errors import BodyCut, Busy, MirrorError, ShuttingDown
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.events.fills import FillFinished, FillStarted
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.fills.fill import SMALL
from mirror.proxy.fills.hold import HOLD_SECONDS, Hold
from mirror.proxy.fills.progress import HOLD_BACK
from mirror.proxy.fills.turns import MOST_AT_ONCE
from tests.unit.proxy.doubles import HUB, OTHER, Held, Never, ScriptedTransfer, read_to_end
from tests.unit.proxy.draining import drain
from tests.unit.proxy.memory_disk import MemoryDisk
from tests.unit.proxy.works import Works
from tests.unit.virtual_time import Stuck, in_virtual_time, run, settle, steps

DATA = os.urandom(SMALL + 2 * HOLD_BACK)
DIGEST = Digest.of(DATA)
HALF = len(DATA) // 2


def gated(gate: asyncio.Event) -> ScriptedTransfer:
    """A transfer that stops half-way until the gate opens."""
    return ScriptedTransfer([DATA[:HALF], gate, DATA[HALF:]], len(DATA))


@in_virtual_time
async def test_a_blob_is_served_verified_and_kept() -> None:
    transfer = ScriptedTransfer.whole(DATA)
    works = Works(DATA, transfer)
    assert await works.read() == DATA
    finished = await works.end()
    assert (finished.size, finished.committed, finished.error) == (len(DATA), True, None)
    assert works.store.committed == {DIGEST: DATA}
    assert works.records.grants == {(HUB, DIGEST)}
    assert transfer.closed


@in_virtual_time
async def test_an_empty_blob_is_a_blob() -> None:
    works = Works(DATA, ScriptedTransfer([], 0))
    empty = Digest.of(b"")
    fill, _ = works.filler.join_or_start(HUB, empty)
    body = await fill.open()
    assert body is not None
    assert await read_to_end(body) == b""
    body.close()
    await works.end()
    assert works.store.committed == {empty: b""}


@pytest.mark.parametrize("readers", [2, 100])
@in_virtual_time
async def test_all_readers_share_one_transfer(readers: int) -> None:
    gate = asyncio.Event()
    works = Works(DATA, gated(gate))
    reading = [asyncio.create_task(works.read()) for _ in range(readers - 1)]
    await settle()
    reading.append(asyncio.create_task(works.read()))
    await settle()
    gate.set()
    assert all([data == DATA for data in await asyncio.gather(*reading)])
    await works.end()
    assert len(works.upstream.asked) == 1
    assert works.disk.claimed == 1


@in_virtual_time
async def test_who_starts_and_who_joins() -> None:
    works = Works(DATA, ScriptedTransfer.whole(DATA))
    first, joined_first = works.filler.join_or_start(HUB, DIGEST)
    second, joined_second = works.filler.join_or_start(OTHER, DIGEST)
    assert first is second is works.filler.find(DIGEST)
    assert (joined_first, joined_second) == (False, True)
    assert second.route == HUB
    await works.end()


@in_virtual_time
async def test_a_reader_may_have_bytes_before_the_end_but_not_the_last_ones() -> None:
    gate = asyncio.Event()
    works = Works(DATA, ScriptedTransfer([DATA[:HALF], DATA[HALF:], gate], len(DATA)))
    body = await works.open()
    await settle()
    assert await body.sendable(0) == len(DATA) - HOLD_BACK
    body.close()
    gate.set()
    await works.end()


# Upstream says no, or nothing. -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [errors.BlobUnknown("no"), errors.Denied("no"), errors.UpstreamFailed("no"), errors.UpstreamThrottled("no")],
)
@in_virtual_time
async def test_upstreams_no_reaches_every_waiter(error: MirrorError) -> None:
    gate = asyncio.Event()
    works = Works(DATA)
    works.upstream.blobs.append(Held(gate, error))
    reading = [asyncio.create_task(works.read()) for _ in range(5)]
    await settle()
    gate.set()
    assert await asyncio.gather(*reading, return_exceptions=True) == [error] * 5
    await drain(works.tasks, 0)
    works.check_nothing_is_left()
    assert not works.records.grants
    assert not works.observer.of(FillStarted)


@in_virtual_time
async def test_silence_ends_in_time() -> None:
    works = Works(DATA)
    works.upstream.blobs.append(Never())
    with pytest.raises(errors.UpstreamTimeout):
        await works.read()
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    await settle()
    works.check_nothing_is_left()


@in_virtual_time
async def test_after_a_failure_the_next_one_starts_anew() -> None:
    works = Works(DATA)
    works.upstream.blobs += [errors.UpstreamFailed("broken"), ScriptedTransfer.whole(DATA)]
    with pytest.raises(errors.UpstreamFailed):
        await works.read()
    await settle()
    assert await works.read() == DATA
    await works.end()


@pytest.mark.parametrize("error", [errors.BlobUnknown("no"), errors.Denied("no")])
@in_virtual_time
async def test_a_refusal_is_remembered(error: MirrorError) -> None:
    works = Works(DATA)
    works.upstream.blobs += [error, ScriptedTransfer.whole(DATA)]
    for remembered in (False, True, True):
        with pytest.raises(type(error)) as raised:
            await works.read()
        assert raised.value.remembered is remembered
        await settle()
        works.check_nothing_is_left()
    assert len(works.upstream.asked) == 1
    works.clock.now += 31
    assert await works.read() == DATA
    await works.end()


@in_virtual_time
async def test_a_refusal_to_one_repository_is_not_remembered_against_another() -> None:
    works = Works(DATA)
    works.upstream.blobs += [errors.Denied("no"), ScriptedTransfer.whole(DATA)]
    with pytest.raises(errors.Denied):
        await works.read()
    await settle()
    fill, _ = works.filler.join_or_start(OTHER, DIGEST)
    body = await fill.open()
    assert body is not None
    assert await read_to_end(body) == DATA
    body.close()
    await works.end()


@in_virtual_time
async def test_a_refusal_does_not_hide_what_is_stored() -> None:
    works = Works(DATA)
    await works.failures.remember(Kind.BLOB, HUB, DIGEST, errors.BlobUnknown("no"))
    works.store.committed[DIGEST] = DATA
    assert await works.read() == DATA


@in_virtual_time
async def test_a_blob_that_was_committed_meanwhile_is_not_fetched() -> None:
    works = Works(DATA)
    works.store.committed[DIGEST] = DATA
    fill, _ = works.filler.join_or_start(HUB, DIGEST)
    assert await fill.open() is None
    await drain(works.tasks, 0)
    works.check_nothing_is_left()
    assert not works.upstream.asked


# Many at once. --------------------------------------------------------------------------------------------


def many(works: Works, count: int, gate: asyncio.Event) -> list[bytes]:
    """So many blobs, each of which stops half-way until the gate opens."""
    blobs = [bytes([n % 256, n // 256]) + DATA for n in range(count)]
    works.upstream.blobs += [ScriptedTransfer([blob[:HALF], gate, blob[HALF:]], len(blob)) for blob in blobs]
    return blobs


async def fetch(works: Works, blob: bytes) -> bytes:
    fill, _ = works.filler.join_or_start(HUB, Digest.of(blob))
    body = await fill.open()
    assert body is not None
    got = await read_to_end(body)
    body.close()
    return got


@in_virtual_time
async def test_only_so_many_are_fetched_at_once_and_the_others_after_them() -> None:
    works, gate = Works(DATA), asyncio.Event()
    blobs = many(works, MOST_AT_ONCE + 5, gate)
    reading = [asyncio.create_task(fetch(works, blob)) for blob in blobs]
    await settle()
    assert len(works.upstream.asked) == MOST_AT_ONCE
    assert len(works.disk.partial) == MOST_AT_ONCE
    gate.set()
    assert await asyncio.gather(*reading) == blobs
    await drain(works.tasks, 60)
    works.check_nothing_is_left()


@in_virtual_time
async def test_beyond_that_the_mirror_is_busy_and_soon_it_is_not() -> None:
    works, gate = Works(DATA), asyncio.Event()
    blobs = many(works, MOST_AT_ONCE + 1, gate)
    reading = [asyncio.create_task(fetch(works, blob)) for blob in blobs]
    with pytest.raises(Busy):
        await reading.pop()
    assert asyncio.get_running_loop().time() < ANSWER_WITHIN
    late = asyncio.create_task(fetch(works, blobs[-1]))
    gate.set()
    assert await asyncio.gather(*reading, late) == blobs
    await drain(works.tasks, 60)
    works.check_nothing_is_left()


@in_virtual_time
async def test_whoever_reads_slowly_what_is_complete_keeps_nobody_from_a_turn() -> None:
    works, gate = Works(DATA), asyncio.Event()
    gate.set()
    blobs = many(works, MOST_AT_ONCE + 1, gate)
    bodies = []
    for blob in blobs[:-1]:
        fill, _ = works.filler.join_or_start(HUB, Digest.of(blob))
        bodies.append(await fill.open())
        await settle()
    assert await asyncio.wait_for(fetch(works, blobs[-1]), 1) == blobs[-1]
    for body in bodies:
        assert body is not None
        body.close()
    await drain(works.tasks, 60)
    works.check_nothing_is_left()


# Cancellation. ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(100))
@in_virtual_time
async def test_a_client_may_leave_at_any_await_and_harms_nobody(turns: int) -> None:
    transfer = ScriptedTransfer.whole(DATA, piece=HALF)
    works = Works(DATA, transfer)
    victim = asyncio.create_task(works.read())
    await steps(turns)
    other = asyncio.create_task(works.read())
    victim.cancel()
    assert await other == DATA
    finished = await works.end()
    assert finished.committed
    assert works.store.committed == {DIGEST: DATA}
    assert len(works.upstream.asked) == 1
    assert transfer.closed


@pytest.mark.parametrize("turns", [0, 1, 5, 20])
@in_virtual_time
async def test_a_fill_that_nobody_reads_any_more_goes_on(turns: int) -> None:
    works = Works(DATA, ScriptedTransfer.whole(DATA))
    only = asyncio.create_task(works.read())
    await steps(turns + 1)
    only.cancel()
    await settle()
    finished = await works.end()
    assert finished.committed


async def interrupt(turns: int) -> None:
    """Stop everything after so many turns of the loop, and check what is left: nothing, or something to go on with."""
    transfer = ScriptedTransfer.whole(DATA, piece=HALF // 2)
    works = Works(DATA, transfer)
    reader = asyncio.create_task(works.read())
    await steps(turns)
    await drain(works.tasks, 0)
    [result] = await asyncio.gather(reader, return_exceptions=True)
    assert result == DATA or isinstance(result, BodyCut | ShuttingDown)
    assert works.store.committed.get(DIGEST, DATA) == DATA
    assert all(DATA.startswith(inode.data) for inode in works.disk.partial.values())
    works.check_nothing_is_left()
    assert len(works.observer.of(FillStarted)) == len(works.observer.of(FillFinished))


def test_a_fill_that_shutdown_interrupts_at_any_await_leaves_nothing_behind() -> None:
    failed: dict[int, str] = {}
    for turns in range(1, 160):
        try:
            run(interrupt(turns))
        except (AssertionError, Stuck) as error:
            failed[turns] = str(error)
    assert not failed


@in_virtual_time
async def test_readers_of_a_fill_that_is_cancelled_before_it_began_do_not_wait_for_ever() -> None:
    works = Works(DATA)
    fill, _ = works.filler.join_or_start(HUB, DIGEST)
    await drain(works.tasks, 0)
    with pytest.raises(ShuttingDown):
        await asyncio.wait_for(fill.open(), 3600)
    works.check_nothing_is_left()


@in_virtual_time
async def test_readers_of_an_interrupted_fill_are_told_why() -> None:
    works = Works(DATA, ScriptedTransfer([DATA[:HALF], Never()], len(DATA)))
    reading = [asyncio.create_task(works.read()) for _ in range(3)]
    await settle()
    await drain(works.tasks, 5)
    for result in await asyncio.gather(*reading, return_exceptions=True):
        assert isinstance(result, BodyCut)
    assert isinstance((await works.end()).error, ShuttingDown)


@in_virtual_time
async def test_shutdown_during_the_wait_for_a_slow_reader_closes_the_file() -> None:
    works = Works(DATA, ScriptedTransfer.whole(DATA))
    body = await works.open()
    await settle()
    await drain(works.tasks, 0)
    assert await read_to_end(body) == DATA
    body.close()
    assert works.store.open_files == 0


@in_virtual_time
async def test_a_bug_in_the_transfer_cuts_the_readers_and_is_reported() -> None:
    transfer = ScriptedTransfer([DATA[:HALF], ZeroDivisionError()], len(DATA))
    works = Works(DATA, transfer)
    with pytest.raises(BodyCut):
        await works.read()
    await settle()
    assert len(works.observer.of(TaskCrashed)) == 1
    assert works.store.open_files == 0
    assert transfer.closed


# Begun ahead. --------------------------------------------------------------------------------------------


def ahead() -> Hold:
    return Hold(lambda: None)


class SlowToDiscard(MemoryDisk):
    """A disk that takes no name away before it `goes_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()

    async def turn(self, doing: str) -> None:
        if doing == "discard":
            await self.goes_on.wait()


@in_virtual_time
async def test_what_is_begun_ahead_is_asked_for_and_not_read_before_somebody_comes() -> None:
    transfer = ScriptedTransfer.whole(DATA)
    works = Works(DATA, transfer)
    assert await works.filler.begin_ahead(HUB, DIGEST, ahead())
    await asyncio.sleep(5)
    assert len(works.upstream.asked) == 1
    assert not works.observer.of(FillStarted)
    assert await works.read() == DATA
    await works.end()
    assert len(works.upstream.asked) == 1
    assert works.store.committed == {DIGEST: DATA}


@in_virtual_time
async def test_nobody_came() -> None:
    transfer = ScriptedTransfer.whole(DATA)
    works = Works(DATA, transfer, ScriptedTransfer.whole(DATA))
    assert await works.filler.begin_ahead(HUB, DIGEST, ahead())
    await drain(works.tasks, 60)
    assert transfer.closed
    assert not works.disk.partial
    works.check_nothing_is_left()
    assert not works.observer.of(FillFinished)
    # Whoever comes now is served as if nothing had been.
    assert await works.read() == DATA
    await works.end()


@in_virtual_time
async def test_who_comes_as_it_is_let_go_of_is_told_at_once() -> None:
    disk = SlowToDiscard()
    works = Works(DATA, ScriptedTransfer.whole(DATA), disk=disk)
    assert await works.filler.begin_ahead(HUB, DIGEST, ahead())
    # Found now, by a client of another repository, whose right to it has to be asked for first.
    fill = works.filler.find(DIGEST)
    assert fill is not None
    await asyncio.sleep(HOLD_SECONDS + 1)
    assert works.filler.find(DIGEST) is None
    assert await asyncio.wait_for(fill.open(), 1) is None
    disk.goes_on.set()
    await drain(works.tasks, 60)
    works.check_nothing_is_left()


@in_virtual_time
async def test_bytes_of_an_earlier_attempt_are_there_still_when_nobody_came() -> None:
    works = Works(DATA, ScriptedTransfer.rest_of(DATA, HALF))
    partial = works.store.claim_now(DIGEST)
    assert partial is not None
    await partial.append(DATA[:HALF])
    await partial.keep()
    await partial.close()
    assert await works.filler.begin_ahead(HUB, DIGEST, ahead())
    await drain(works.tasks, 60)
    assert works.disk.partial[DIGEST].data == DATA[:HALF]
    works.check_nothing_is_left()


@in_virtual_time
async def test_there_is_one_fill_of_a_blob_whoever_began_it() -> None:
    gate = asyncio.Event()
    works = Works(DATA, gated(gate))
    reading = asyncio.create_task(works.read())
    await settle()
    assert await works.filler.begin_ahead(HUB, DIGEST, ahead()) is None
    gate.set()
    assert await reading == DATA
    await works.end()


@in_virtual_time
async def test_of_two_processes_the_one_that_has_a_client_has_it_from_the_one_that_began() -> None:
    works = Works(DATA, ScriptedTransfer.whole(DATA))
    other = works.beside()
    assert await works.filler.begin_ahead(HUB, DIGEST, ahead())
    await asyncio.sleep(1)
    assert await other.read() == DATA
    await drain(other.tasks, 60)
    await works.end()
    assert [asked for asked in works.upstream.asked if asked.startswith("GET")] == works.upstream.asked[:1]


@in_virtual_time
async def test_what_another_process_fetches_is_not_waited_for() -> None:
    gate = asyncio.Event()
    works = Works(DATA, gated(gate))
    other = works.beside()
    reading = asyncio.create_task(works.read())
    await asyncio.sleep(1)
    task = await other.filler.begin_ahead(HUB, DIGEST, ahead())
    assert task is not None
    await asyncio.wait([task])
    assert other.filler.find(DIGEST) is None
    gate.set()
    assert await reading == DATA
    await works.end()


@in_virtual_time
async def test_what_is_stored_is_not_begun_ahead() -> None:
    works = Works(DATA)
    works.store.committed[DIGEST] = DATA
    task = await works.filler.begin_ahead(HUB, DIGEST, ahead())
    assert task is not None
    await task
    assert not works.upstream.asked
