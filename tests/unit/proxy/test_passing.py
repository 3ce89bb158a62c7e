from __future__ import annotations

import asyncio
import os

import pytest

from mirror.errors import BodyCut, DigestMismatch, StoreFailed, UpstreamUnreachable
from mirror.oci.digest import Digest
from mirror.proxy.fills.audience import LAGGING_SECONDS, WINDOW
from mirror.proxy.routing import Route
from tests.unit.proxy.doubles import HUB, MemoryRecords, ScriptedTransfer, read_to_end
from tests.unit.proxy.draining import drain
from tests.unit.proxy.memory_passage import SEGMENT
from tests.unit.proxy.memory_store import MOST_PASSAGES
from tests.unit.proxy.works import Works
from tests.unit.virtual_time import in_virtual_time, settle

HUGE = os.urandom(3 * WINDOW)


@in_virtual_time
async def test_a_blob_that_cannot_be_kept_passes_through_little_memory() -> None:
    works = Works(HUGE, ScriptedTransfer.whole(HUGE, 100_000), max_size=len(HUGE) - 1)
    assert await asyncio.gather(*(works.read() for _ in range(2))) == [HUGE] * 2
    await works.end()
    assert works.store.most_in_passing <= WINDOW + 100_000 + SEGMENT
    assert len(works.upstream.asked) == 1


@in_virtual_time
async def test_it_is_not_fetched_faster_than_it_is_read() -> None:
    works = Works(HUGE, ScriptedTransfer.whole(HUGE, 100_000), max_size=0)
    body = await works.open()
    await asyncio.sleep(10 * LAGGING_SECONDS)
    assert works.store.most_in_passing <= WINDOW + 100_000 + SEGMENT
    assert await read_to_end(body) == HUGE
    body.close()
    await works.end()


@in_virtual_time
async def test_a_reader_that_keeps_the_others_waiting_is_cut() -> None:
    works = Works(HUGE, ScriptedTransfer.whole(HUGE, 100_000), max_size=0)
    lagging, quick = await works.open(), await works.open()
    assert await read_to_end(quick) == HUGE
    assert asyncio.get_running_loop().time() == pytest.approx(LAGGING_SECONDS, abs=1)
    with pytest.raises(BodyCut):
        await read_to_end(lagging)
    quick.close()
    lagging.close()
    await works.end()


@in_virtual_time
async def test_who_comes_when_the_first_bytes_have_passed_gets_a_fill_of_its_own() -> None:
    gate = asyncio.Event()
    first = ScriptedTransfer([HUGE[:WINDOW], HUGE[WINDOW : 2 * WINDOW], gate, HUGE[2 * WINDOW :]], len(HUGE))
    works = Works(HUGE, first, ScriptedTransfer.whole(HUGE), max_size=0)
    reading = asyncio.create_task(works.read())
    await settle()
    assert works.filler.find(works.digest) is None
    assert await works.read() == HUGE
    gate.set()
    assert await reading == HUGE
    await drain(works.tasks, 60)
    works.check_nothing_is_left()


@in_virtual_time
async def test_what_cannot_be_kept_is_not_fetched_for_nobody() -> None:
    works = Works(HUGE, ScriptedTransfer.whole(HUGE, 100_000), max_size=0)
    body = await works.open()
    await settle()
    body.close()
    finished = await works.end()
    assert isinstance(finished.error, StoreFailed)
    assert finished.size < len(HUGE)


@in_virtual_time
async def test_a_passage_that_is_cut_goes_on_as_well() -> None:
    half = WINDOW // 2
    first = ScriptedTransfer([HUGE[:half], HUGE[half : half + 5], UpstreamUnreachable("reset")], len(HUGE))
    works = Works(HUGE, first, ScriptedTransfer.whole(HUGE, 100_000), max_size=0)
    assert await works.read() == HUGE
    assert (await works.end()).error is None
    assert [rest.start for rest in works.upstream.rests] == [0, half + 5]


@in_virtual_time
async def test_a_passage_of_wrong_bytes_is_cut_before_the_tail() -> None:
    works = Works(HUGE, ScriptedTransfer.whole(b"wrong" + HUGE[5:], 100_000), max_size=0)
    with pytest.raises(BodyCut):
        await works.read()
    assert isinstance((await works.end()).error, DigestMismatch)


@in_virtual_time
async def test_only_so_much_passes_through_memory() -> None:
    works = Works(HUGE, ScriptedTransfer.whole(HUGE), max_size=0)
    others = [works.store.passage(works.digest) for _ in range(MOST_PASSAGES)]
    with pytest.raises(StoreFailed):
        await works.read()
    for passage in others:
        await passage.close()
    await drain(works.tasks, 60)
    works.check_nothing_is_left()


class Forgetful(MemoryRecords):
    """Records of which tidying takes away what is said of content that is not on disk, once room was looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.granted_times = 0

    async def grant(self, route: Route, digest: Digest) -> None:
        """Count, and forget the first one."""
        await super().grant(route, digest)
        self.granted_times += 1
        if self.granted_times == 1:
            self.grants.clear()


@in_virtual_time
async def test_what_passes_is_granted_once_it_is_sure_that_it_does() -> None:
    works = Works(HUGE, ScriptedTransfer.whole(HUGE), max_size=0, records=Forgetful())
    body = await works.open()
    assert works.records.grants == {(HUB, works.digest)}
    assert await read_to_end(body) == HUGE
    body.close()
    await works.end()


@in_virtual_time
async def test_what_is_kept_is_granted_once_before_there_is_anything_to_read() -> None:
    records = Forgetful()
    works = Works(HUGE, ScriptedTransfer.whole(HUGE), records=records)
    body = await works.open()
    assert records.granted_times == 1
    assert await read_to_end(body) == HUGE
    body.close()
    await works.end()
    assert records.granted_times == 1
