from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import BodyCut, DigestMismatch, MirrorError, ShuttingDown, StoreFailed, UpstreamInvalid
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.events import DigestMismatched, FillFinished, FillStarted, StoreTroubled, TaskCrashed
from mirror.proxy.failures import Failures
from mirror.proxy.fill import SMALL
from mirror.proxy.filler import SIZE_WITHIN, Filler
from mirror.proxy.interfaces import Body
from mirror.proxy.progress import HOLD_BACK
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import (
    HUB,
    OTHER,
    Held,
    MemoryCache,
    MemoryRecords,
    MemoryStore,
    Never,
    Piece,
    ScriptedTransfer,
    ScriptedUpstream,
    SettableClock,
    read_to_end,
)
from tests.unit.proxy.draining import drain
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import Stuck, in_virtual_time, run, settle, steps

DATA = os.urandom(SMALL + 2 * HOLD_BACK)
DIGEST = Digest.of(DATA)
HALF = len(DATA) // 2


class Works:
    """A filler and all it is made of."""

    def __init__(self, *transfers: ScriptedTransfer, max_size: int = 2**40) -> None:
        self.upstream = ScriptedUpstream(blobs=list(transfers))
        self.store = MemoryStore(max_size)
        self.records = MemoryRecords()
        self.observer = Recorder()
        self.tasks = Tasks(self.observer)
        self.clock = SettableClock()
        self.failures = Failures(MemoryCache(self.clock), timedelta(seconds=30))
        upstreams = {"docker.io": self.upstream}
        self.filler = Filler(upstreams, self.store, self.records, self.failures, self.tasks, self.observer)

    async def open(self) -> Body:
        """Return a body of the fill, joined or started, or of the stored blob if that was quicker."""
        fill, _ = self.filler.join_or_start(HUB, DIGEST)
        body = await fill.open() or await self.store.open(DIGEST)
        assert body is not None
        return body

    async def read(self) -> bytes:
        """Return what a client gets."""
        body = await self.open()
        try:
            return await read_to_end(body)
        finally:
            body.close()

    async def end(self) -> FillFinished:
        """Wait for the end of the only fill, check that nothing is left of it, and return its last event."""
        await drain(self.tasks, 60)
        [finished] = self.observer.of(FillFinished)
        assert len(self.observer.of(FillStarted)) == 1
        self.check_nothing_is_left()
        return finished

    def check_nothing_is_left(self) -> None:
        assert self.store.open_files == 0
        assert self.filler.find(DIGEST) is None
        assert not self.observer.of(TaskCrashed)


def gated(gate: asyncio.Event) -> ScriptedTransfer:
    """A transfer that stops half-way until the gate opens."""
    return ScriptedTransfer([DATA[:HALF], gate, DATA[HALF:]], len(DATA))


@in_virtual_time
async def test_a_blob_is_served_verified_and_kept() -> None:
    transfer = ScriptedTransfer.whole(DATA)
    works = Works(transfer)
    assert await works.read() == DATA
    finished = await works.end()
    assert (finished.size, finished.committed, finished.error) == (len(DATA), True, None)
    assert works.store.committed == {DIGEST: DATA}
    assert works.records.grants == {(HUB, DIGEST)}
    assert transfer.closed


@in_virtual_time
async def test_an_empty_blob_is_a_blob() -> None:
    works = Works(ScriptedTransfer([], 0))
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
    works = Works(gated(gate))
    reading = [asyncio.create_task(works.read()) for _ in range(readers - 1)]
    await settle()
    reading.append(asyncio.create_task(works.read()))
    await settle()
    gate.set()
    assert all([data == DATA for data in await asyncio.gather(*reading)])
    await works.end()
    assert len(works.upstream.asked) == 1
    assert works.store.begun == 1


@in_virtual_time
async def test_who_starts_and_who_joins() -> None:
    works = Works(ScriptedTransfer.whole(DATA))
    first, joined_first = works.filler.join_or_start(HUB, DIGEST)
    second, joined_second = works.filler.join_or_start(OTHER, DIGEST)
    assert first is second is works.filler.find(DIGEST)
    assert (joined_first, joined_second) == (False, True)
    assert second.route == HUB
    await works.end()


@in_virtual_time
async def test_a_reader_may_have_bytes_before_the_end_but_not_the_last_ones() -> None:
    gate = asyncio.Event()
    works = Works(ScriptedTransfer([DATA[:HALF], DATA[HALF:], gate], len(DATA)))
    body = await works.open()
    await settle()
    assert await body.sendable(0) == len(DATA) - HOLD_BACK
    body.close()
    gate.set()
    await works.end()


@in_virtual_time
async def test_wrong_bytes_cut_every_reader_before_the_tail() -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    works = Works(ScriptedTransfer.whole(wrong))
    body = await works.open()
    before = await body.sendable(0)
    assert 0 < before <= len(DATA) - HOLD_BACK
    with pytest.raises(BodyCut):
        await read_to_end(body, before)
    body.close()
    finished = await works.end()
    assert isinstance(finished.error, DigestMismatch)
    assert not finished.committed
    assert works.store.committed == {}
    assert works.store.discarded == [DIGEST]
    assert len(works.observer.of(DigestMismatched)) == 1


@in_virtual_time
async def test_wrong_bytes_of_a_small_blob_are_an_error_before_the_first_header() -> None:
    works = Works(ScriptedTransfer.whole(b"something else"))
    with pytest.raises(DigestMismatch):
        await works.open()
    await works.end()


@pytest.mark.parametrize("length", [HALF, 0, len(DATA) - 1])
@pytest.mark.parametrize("cut", [None, errors.UpstreamUnreachable("reset"), errors.UpstreamTimeout("stalled")])
@in_virtual_time
async def test_a_transfer_that_breaks_off_cuts_the_readers(length: int, cut: MirrorError | None) -> None:
    pieces: list[Piece] = [DATA[:length]] if length else []
    transfer = ScriptedTransfer([*pieces, *([cut] if cut else [])], len(DATA))
    works = Works(transfer)
    with pytest.raises((BodyCut, type(cut or UpstreamInvalid("short")))):
        await works.read()
    finished = await works.end()
    assert type(finished.error) is (type(cut) if cut else UpstreamInvalid)
    assert finished.size == length
    assert works.store.committed == {}
    assert works.store.discarded == [DIGEST]
    assert transfer.closed


@pytest.mark.parametrize("declared", [HALF, len(DATA) - 1, 0])
@in_virtual_time
async def test_more_bytes_than_declared_are_never_passed_on(declared: int) -> None:
    works = Works(ScriptedTransfer([DATA[:HALF], DATA[HALF:]], declared))
    with pytest.raises((BodyCut, UpstreamInvalid)):
        await works.read()
    finished = await works.end()
    assert isinstance(finished.error, UpstreamInvalid)
    assert finished.size <= declared
    assert works.store.committed == {}


# A length that upstream left out. --------------------------------------------------------------------------


@in_virtual_time
async def test_a_missing_length_is_asked_for() -> None:
    works = Works(ScriptedTransfer([DATA], None))
    works.upstream.head_blobs.append(len(DATA))
    body = await works.open()
    assert body.size == len(DATA)
    assert await read_to_end(body) == DATA
    body.close()
    await works.end()


@pytest.mark.parametrize(
    "answer", [None, Never(), errors.BlobUnknown("no HEAD here"), errors.Denied("nor here"), errors.UpstreamFailed("")]
)
@in_virtual_time
async def test_a_length_that_nobody_tells_stays_unknown(answer: Never | MirrorError | None) -> None:
    transfer = ScriptedTransfer([DATA], None)
    works = Works(transfer)
    works.upstream.head_blobs.append(answer)
    body = await works.open()
    assert asyncio.get_running_loop().time() <= SIZE_WITHIN + 0.001
    assert body.size in (None, len(DATA))
    assert await read_to_end(body) == DATA
    body.close()
    await works.end()
    assert works.store.committed == {DIGEST: DATA}
    assert transfer.closed


@in_virtual_time
async def test_an_unmeasured_body_that_is_cut_never_ends_well() -> None:
    works = Works(ScriptedTransfer([DATA[:HALF]], None))
    works.upstream.head_blobs.append(None)
    with pytest.raises(BodyCut):
        await works.read()
    assert isinstance((await works.end()).error, DigestMismatch)


# Upstream says no, or nothing. -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [errors.BlobUnknown("no"), errors.Denied("no"), errors.UpstreamFailed("no"), errors.UpstreamThrottled("no")],
)
@in_virtual_time
async def test_upstreams_no_reaches_every_waiter(error: MirrorError) -> None:
    gate = asyncio.Event()
    works = Works()
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
    works = Works()
    works.upstream.blobs.append(Never())
    with pytest.raises(errors.UpstreamTimeout):
        await works.read()
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    await settle()
    works.check_nothing_is_left()


@in_virtual_time
async def test_after_a_failure_the_next_one_starts_anew() -> None:
    works = Works()
    works.upstream.blobs += [errors.UpstreamFailed("broken"), ScriptedTransfer.whole(DATA)]
    with pytest.raises(errors.UpstreamFailed):
        await works.read()
    await settle()
    assert await works.read() == DATA
    await works.end()


@pytest.mark.parametrize("error", [errors.BlobUnknown("no"), errors.Denied("no")])
@in_virtual_time
async def test_a_refusal_is_remembered(error: MirrorError) -> None:
    works = Works()
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
    works = Works()
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
    works = Works()
    await works.failures.remember(Kind.BLOB, HUB, DIGEST, errors.BlobUnknown("no"))
    works.store.committed[DIGEST] = DATA
    assert await works.read() == DATA


@in_virtual_time
async def test_a_blob_that_was_committed_meanwhile_is_not_fetched() -> None:
    works = Works()
    works.store.committed[DIGEST] = DATA
    fill, _ = works.filler.join_or_start(HUB, DIGEST)
    assert await fill.open() is None
    await drain(works.tasks, 0)
    works.check_nothing_is_left()
    assert not works.upstream.asked


# The disk says no. -----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_disk_that_takes_no_file_is_said_so() -> None:
    transfer = ScriptedTransfer.whole(DATA)
    works = Works(transfer)
    works.store.failing.add("begin")
    with pytest.raises(StoreFailed):
        await works.read()
    await drain(works.tasks, 0)
    works.check_nothing_is_left()
    assert transfer.closed


@in_virtual_time
async def test_a_disk_that_fills_up_cuts_the_readers() -> None:
    gate = asyncio.Event()
    works = Works(gated(gate))
    reading = asyncio.create_task(works.read())
    await settle()
    works.store.failing.add("append")
    gate.set()
    with pytest.raises(BodyCut):
        await reading
    assert isinstance((await works.end()).error, StoreFailed)


@in_virtual_time
async def test_readers_are_served_when_the_commit_fails() -> None:
    works = Works(ScriptedTransfer.whole(DATA))
    works.store.failing.add("commit")
    assert await works.read() == DATA
    finished = await works.end()
    assert not finished.committed
    assert works.store.committed == {}
    assert works.store.discarded == [DIGEST]
    assert len(works.observer.of(StoreTroubled)) == 1


@pytest.mark.parametrize("data", [DATA, b"wrong"])
@in_virtual_time
async def test_a_disk_that_does_not_even_forget_leaves_nothing_open(data: bytes) -> None:
    works = Works(ScriptedTransfer.whole(data))
    works.store.failing |= {"commit", "discard"}
    await asyncio.gather(works.read(), return_exceptions=True)
    finished = await works.end()
    assert not finished.committed


# Too large to keep. ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_blob_larger_than_the_cache_is_served_and_dropped_after_its_last_reader() -> None:
    works = Works(ScriptedTransfer.whole(DATA), max_size=len(DATA) - 1)
    first, second = await works.open(), await works.open()
    await settle()
    assert not works.store.discarded
    late = await works.open()
    for body in (first, second, late):
        assert await read_to_end(body) == DATA
        assert works.store.discarded == []
        body.close()
    await settle()
    assert works.store.discarded == [DIGEST]
    finished = await works.end()
    assert (finished.committed, finished.error) == (False, None)
    assert works.store.committed == {}
    assert len(works.upstream.asked) == 1


# Cancellation. ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(40))
@in_virtual_time
async def test_a_client_may_leave_at_any_await_and_harms_nobody(turns: int) -> None:
    transfer = ScriptedTransfer.whole(DATA, piece=HALF)
    works = Works(transfer)
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
    works = Works(ScriptedTransfer.whole(DATA))
    only = asyncio.create_task(works.read())
    await steps(turns + 1)
    only.cancel()
    await settle()
    finished = await works.end()
    assert finished.committed


async def interrupt(turns: int) -> None:
    """Stop everything after so many turns of the loop, and check what is left."""
    transfer = ScriptedTransfer.whole(DATA, piece=HALF // 2)
    works = Works(transfer)
    reader = asyncio.create_task(works.read())
    await steps(turns)
    await drain(works.tasks, 0)
    [result] = await asyncio.gather(reader, return_exceptions=True)
    assert result == DATA or isinstance(result, BodyCut | ShuttingDown)
    assert works.store.committed.get(DIGEST, DATA) == DATA
    assert works.store.begun <= len(works.store.committed) + len(works.store.discarded)
    works.check_nothing_is_left()
    assert len(works.observer.of(FillStarted)) == len(works.observer.of(FillFinished))


def test_a_fill_that_shutdown_interrupts_at_any_await_leaves_nothing_behind() -> None:
    failed: dict[int, str] = {}
    for turns in range(1, 60):
        try:
            run(interrupt(turns))
        except (AssertionError, Stuck) as error:
            failed[turns] = str(error)
    assert not failed


@in_virtual_time
async def test_readers_of_a_fill_that_is_cancelled_before_it_began_do_not_wait_for_ever() -> None:
    works = Works()
    fill, _ = works.filler.join_or_start(HUB, DIGEST)
    await drain(works.tasks, 0)
    with pytest.raises(ShuttingDown):
        await asyncio.wait_for(fill.open(), 3600)
    works.check_nothing_is_left()


@in_virtual_time
async def test_readers_of_an_interrupted_fill_are_told_why() -> None:
    works = Works(ScriptedTransfer([DATA[:HALF], Never()], len(DATA)))
    reading = [asyncio.create_task(works.read()) for _ in range(3)]
    await settle()
    await drain(works.tasks, 5)
    for result in await asyncio.gather(*reading, return_exceptions=True):
        assert isinstance(result, BodyCut)
    assert isinstance((await works.end()).error, ShuttingDown)


@in_virtual_time
async def test_shutdown_during_the_wait_for_a_slow_reader_closes_the_file() -> None:
    works = Works(ScriptedTransfer.whole(DATA))
    body = await works.open()
    await settle()
    await drain(works.tasks, 0)
    assert await read_to_end(body) == DATA
    body.close()
    assert works.store.open_files == 0


@in_virtual_time
async def test_a_bug_in_the_transfer_cuts_the_readers_and_is_reported() -> None:
    transfer = ScriptedTransfer([DATA[:HALF], ZeroDivisionError()], len(DATA))
    works = Works(transfer)
    with pytest.raises(BodyCut):
        await works.read()
    await settle()
    assert len(works.observer.of(TaskCrashed)) == 1
    assert works.store.open_files == 0
    assert transfer.closed
