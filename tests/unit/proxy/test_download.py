from __future__ import annotations

import asyncio
import os

import pytest

from mirror.errors import (
    BodyCut,
    Denied,
    DigestMismatch,
    MirrorError,
    StoreFailed,
    UpstreamFailed,
    UpstreamInvalid,
    UpstreamUnreachable,
)
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.fills import DigestMismatched, FillFinished, FillResumed
from mirror.proxy.events.troubles import StoreTroubled
from mirror.proxy.failures import UNAVAILABLE_SECONDS
from mirror.proxy.fills.audience import WINDOW
from mirror.proxy.fills.fill import SMALL
from mirror.proxy.fills.progress import HOLD_BACK
from mirror.proxy.fills.retry import RESUMES
from tests.unit.proxy.doubles import HUB, Never, ScriptedTransfer, read_to_end
from tests.unit.proxy.draining import drain
from tests.unit.proxy.works import Works, cut
from tests.unit.virtual_time import in_virtual_time, settle

DATA = os.urandom(SMALL + 2 * HOLD_BACK)
DIGEST = Digest.of(DATA)
HALF = len(DATA) // 2
LITTLE = DATA[:1000]
HUGE = os.urandom(3 * WINDOW)


def altered(data: bytes, at: int) -> bytes:
    """The same bytes but for one."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# Cuts. -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_fill_that_is_cut_goes_on_where_it_stopped() -> None:
    works = Works(DATA, cut(DATA, 0, HALF), ScriptedTransfer.rest_of(DATA, HALF))
    assert await works.read() == DATA
    finished = await works.end()
    assert finished.committed
    assert [rest.start for rest in works.upstream.rests] == [0, HALF]
    assert len(works.observer.of(FillResumed)) == 1


@pytest.mark.parametrize("length", [0, HALF, len(DATA) - 1])
@in_virtual_time
async def test_a_fill_that_is_given_up_leaves_what_it_has_to_the_next_one(length: int) -> None:
    works = Works(DATA, cut(DATA, 0, length), *[UpstreamFailed("down")] * RESUMES)
    with pytest.raises((BodyCut, UpstreamFailed)):
        await works.read()
    await drain(works.tasks, 60)
    works.check_nothing_is_left()
    works.upstream.blobs.append(ScriptedTransfer.rest_of(DATA, length))
    assert await works.read() == DATA
    assert works.upstream.rests[-1].start == length
    assert works.upstream.rests[-1].attempt == 0


@in_virtual_time
async def test_what_is_sent_anew_is_compared_and_not_written_again() -> None:
    works = Works(DATA, cut(DATA, 0, HALF), ScriptedTransfer.whole(DATA))
    assert await works.read() == DATA
    finished = await works.end()
    assert (finished.committed, finished.size) == (True, len(DATA))


@in_virtual_time
async def test_another_object_sent_anew_is_noticed_where_it_differs() -> None:
    other = ScriptedTransfer.whole(altered(DATA, HALF - 1))
    works = Works(DATA, cut(DATA, 0, HALF), other)
    body = await works.open()
    with pytest.raises(BodyCut):
        await read_to_end(body)
    body.close()
    finished = await works.end()
    assert isinstance(finished.error, DigestMismatch)
    assert finished.size == HALF
    assert works.disk.discarded == [DIGEST]


@in_virtual_time
async def test_a_whole_file_whose_writer_died_is_only_verified() -> None:
    works = Works(DATA)
    partial = works.store.claim_now(DIGEST)
    assert partial is not None
    await partial.append(DATA)
    await partial.close()
    works.upstream.head_blobs.append(len(DATA))
    assert await works.read() == DATA
    assert works.upstream.asked == [f"HEAD library/alpine blob {DIGEST}"]
    assert (await works.end()).committed


@in_virtual_time
async def test_a_whole_file_opens_nothing_without_upstreams_yes() -> None:
    works = Works(DATA)
    partial = works.store.claim_now(DIGEST)
    assert partial is not None
    await partial.append(DATA)
    await partial.close()
    works.upstream.head_blobs.append(Denied("private"))
    with pytest.raises(Denied):
        await works.read()
    await settle()
    assert works.store.committed == {}
    works.check_nothing_is_left()


# Wrong bytes. ----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_wrong_bytes_cut_every_reader_before_the_tail() -> None:
    works = Works(DATA, ScriptedTransfer.whole(altered(DATA, len(DATA) - 1)))
    body = await works.open()
    before = await body.sendable(0)
    assert 0 < before <= len(DATA) - HOLD_BACK
    with pytest.raises(BodyCut):
        await read_to_end(body, before)
    body.close()
    finished = await works.end()
    assert isinstance(finished.error, DigestMismatch)
    assert works.store.committed == {}
    assert works.disk.discarded == [DIGEST]
    assert len(works.observer.of(DigestMismatched)) == 1


@in_virtual_time
async def test_wrong_bytes_that_nobody_had_are_fetched_once_more() -> None:
    works = Works(LITTLE, ScriptedTransfer.whole(altered(LITTLE, 0)), ScriptedTransfer.whole(LITTLE))
    assert await works.read() == LITTLE
    await drain(works.tasks, 60)
    assert works.store.committed == {works.digest: LITTLE}
    assert [rest.start for rest in works.upstream.rests] == [0, 0]
    works.check_nothing_is_left()


@in_virtual_time
async def test_wrong_bytes_twice_are_an_error_and_remembered() -> None:
    wrong = altered(LITTLE, 0)
    works = Works(LITTLE, *(ScriptedTransfer.whole(wrong) for _ in range(2)))
    for remembered in (False, True):
        with pytest.raises(DigestMismatch) as raised:
            await works.read()
        assert raised.value.remembered is remembered
        await settle()
    assert works.upstream.blobs == []
    works.clock.now += UNAVAILABLE_SECONDS + 1
    works.upstream.blobs.append(ScriptedTransfer.whole(LITTLE))
    assert await works.read() == LITTLE


@pytest.mark.parametrize("declared", [HALF, len(DATA) - 1, 0])
@in_virtual_time
async def test_more_bytes_than_declared_are_never_passed_on(declared: int) -> None:
    works = Works(DATA, *(ScriptedTransfer([DATA[:HALF], DATA[HALF:]], declared) for _ in range(2)))
    with pytest.raises((BodyCut, UpstreamInvalid)):
        await works.read()
    await drain(works.tasks, 60)
    assert all(finished.size <= declared for finished in works.observer.of(FillFinished))
    assert works.store.committed == {}
    works.check_nothing_is_left()


@in_virtual_time
async def test_an_unmeasured_body_that_ends_early_never_ends_well() -> None:
    works = Works(DATA, ScriptedTransfer([DATA[:HALF]], None))
    works.upstream.head_blobs.append(None)
    with pytest.raises(BodyCut):
        await works.read()
    assert isinstance((await works.end()).error, DigestMismatch)


@pytest.mark.parametrize("answer", [len(DATA), None, Never()])
@in_virtual_time
async def test_a_body_without_a_length_is_kept_as_well(answer: int | Never | None) -> None:
    works = Works(DATA, ScriptedTransfer([DATA], None))
    works.upstream.head_blobs.append(answer)
    body = await works.open()
    assert body.size in (answer, None, len(DATA))
    assert await read_to_end(body) == DATA
    body.close()
    assert (await works.end()).committed


# The disk says no. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", ["claim", "expect", "append", "commit"])
@in_virtual_time
async def test_whatever_the_disk_refuses_the_readers_are_served(refused: str) -> None:
    works = Works(HUGE, ScriptedTransfer.whole(HUGE, 100_000))
    works.disk.failing.add(refused)
    assert await asyncio.gather(*(works.read() for _ in range(3))) == [HUGE] * 3
    finished = await works.end()
    assert (finished.committed, finished.error) == (False, None)
    assert works.store.committed == {}
    assert works.disk.partial == {}
    assert bool(works.observer.of(StoreTroubled)) is (refused != "expect")
    assert len(works.upstream.asked) == 1


@in_virtual_time
async def test_a_disk_that_fills_up_half_way_harms_nobody() -> None:
    gate = asyncio.Event()
    works = Works(
        HUGE, ScriptedTransfer([HUGE[:WINDOW], gate, HUGE[WINDOW : 2 * WINDOW], HUGE[2 * WINDOW :]], len(HUGE))
    )
    reading = [asyncio.create_task(works.read()) for _ in range(2)]
    await settle()
    works.disk.failing.add("append")
    gate.set()
    assert await asyncio.gather(*reading) == [HUGE] * 2
    finished = await works.end()
    assert (finished.committed, finished.unkept) == (False, "disk")


@pytest.mark.parametrize("wrong", [False, True])
@in_virtual_time
async def test_a_disk_that_does_not_even_forget_leaves_nothing_open(wrong: bool) -> None:
    works = Works(DATA, ScriptedTransfer.whole(altered(DATA, 5) if wrong else DATA))
    works.disk.failing |= {"commit", "discard"}
    await asyncio.gather(works.read(), return_exceptions=True)
    assert not (await works.end()).committed


@in_virtual_time
async def test_a_disk_that_does_not_give_back_what_is_to_be_compared_ends_the_fill() -> None:
    works = Works(DATA, cut(DATA, 0, HALF), ScriptedTransfer.whole(DATA))
    works.disk.failing.add("holds")
    with pytest.raises(BodyCut):
        await works.read()
    assert isinstance((await works.end()).error, StoreFailed)


# Upstream's no. --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UpstreamUnreachable("reset"), UpstreamFailed("503")])
@in_virtual_time
async def test_that_a_head_had_no_answer_says_nothing_of_a_get(error: MirrorError) -> None:
    works = Works(DATA, ScriptedTransfer.whole(DATA))
    assert isinstance(error, UpstreamUnreachable | UpstreamFailed)
    await works.failures.remember(Kind.BLOB, HUB, DIGEST, error)
    assert await works.read() == DATA


@in_virtual_time
async def test_a_refusal_leaves_no_file_behind() -> None:
    works = Works(DATA, Denied("private"))
    with pytest.raises(Denied):
        await works.read()
    await settle()
    assert works.disk.partial == {}
    works.check_nothing_is_left()
