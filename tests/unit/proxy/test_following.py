from __future__ import annotations

import asyncio
import os

import pytest

from mirror.errors import BodyCut, Denied, UpstreamFailed
from mirror.proxy.fills.fill import SMALL
from mirror.proxy.fills.progress import HOLD_BACK
from mirror.proxy.fills.retry import RESUMES
from tests.unit.proxy.doubles import Held, Never, Piece, ScriptedTransfer, read_to_end
from tests.unit.proxy.draining import drain
from tests.unit.proxy.works import Works, cut
from tests.unit.virtual_time import Stuck, in_virtual_time, run, settle, steps

DATA = os.urandom(SMALL + 2 * HOLD_BACK)
HALF = len(DATA) // 2
A_WHILE = 1.0
"""Seconds in which one process surely notices what another does."""


class Pair:
    """Two processes with one disk; the first one's transfer waits at half until the gate opens."""

    def __init__(self, *later: ScriptedTransfer) -> None:
        self.gate = asyncio.Event()
        pieces: list[Piece] = [DATA[:HALF], self.gate, DATA[HALF:]]
        self.first = Works(DATA, ScriptedTransfer(pieces, len(DATA)), *later)
        self.second = self.first.beside()

    async def under_way(self) -> tuple[asyncio.Task[bytes], asyncio.Task[bytes]]:
        """Return the reading of a client of each, at half."""
        writing = asyncio.create_task(self.first.read())
        await settle()
        following = asyncio.create_task(self.second.read())
        await asyncio.sleep(A_WHILE)
        return writing, following

    async def end(self) -> None:
        for works in (self.first, self.second):
            await drain(works.tasks, 60)
        for works in (self.first, self.second):
            works.check_nothing_is_left()


@in_virtual_time
async def test_two_processes_share_one_transfer() -> None:
    pair = Pair()
    writing, following = await pair.under_way()
    pair.gate.set()
    assert await writing == await following == DATA
    assert len(pair.first.upstream.asked) == 1
    await pair.end()
    assert pair.first.disk.committed == {pair.first.digest: DATA}


@in_virtual_time
async def test_who_reads_along_has_the_bytes_as_they_come() -> None:
    pair = Pair()
    writing = asyncio.create_task(pair.first.read())
    await settle()
    body = await pair.second.open()
    assert await asyncio.wait_for(body.sendable(0), A_WHILE) == HALF
    body.close()
    pair.gate.set()
    await writing
    await pair.end()


@in_virtual_time
async def test_when_the_writer_is_killed_the_reader_takes_over_where_it_stopped() -> None:
    pair = Pair(ScriptedTransfer.rest_of(DATA, HALF))
    writing, following = await pair.under_way()
    writing.cancel()
    await pair.first.kill()
    assert await following == DATA
    assert [rest.start for rest in pair.first.upstream.rests] == [0, HALF]
    await pair.end()
    assert pair.first.disk.committed == {pair.first.digest: DATA}


@in_virtual_time
async def test_of_two_that_read_along_one_takes_over() -> None:
    pair = Pair(ScriptedTransfer.rest_of(DATA, HALF))
    third = pair.first.beside()
    writing, following = await pair.under_way()
    also = asyncio.create_task(third.read())
    await asyncio.sleep(A_WHILE)
    writing.cancel()
    await pair.first.kill()
    assert await following == await also == DATA
    assert len(pair.first.upstream.asked) == 2
    await drain(third.tasks, 60)
    await pair.end()
    third.check_nothing_is_left()


@in_virtual_time
async def test_who_comes_after_the_writer_was_killed_goes_on_as_well() -> None:
    pair = Pair(ScriptedTransfer.rest_of(DATA, HALF))
    writing = asyncio.create_task(pair.first.read())
    await settle()
    writing.cancel()
    await pair.first.kill()
    assert await pair.second.read() == DATA
    assert pair.first.upstream.rests[-1].start == HALF
    await pair.end()


@in_virtual_time
async def test_when_another_file_was_committed_readers_of_the_one_that_lost_its_name_do_not_wait_for_ever() -> None:
    pair = Pair(ScriptedTransfer.rest_of(DATA, HALF))
    writing, following = await pair.under_way()
    writing.cancel()
    disk = pair.first.disk
    disk.partial.clear()
    disk.committed[pair.first.digest] = DATA
    await pair.first.kill()
    assert await asyncio.wait_for(following, 60) == DATA
    await pair.end()


@in_virtual_time
async def test_what_a_killed_writer_did_not_speak_of_is_not_believed() -> None:
    pair = Pair(ScriptedTransfer.rest_of(DATA, HALF))
    writing, following = await pair.under_way()
    writing.cancel()
    await pair.first.kill()
    [inode] = pair.first.disk.partial.values()
    inode.write(b"torn")
    assert await following == DATA
    await pair.end()


@in_virtual_time
async def test_when_the_writer_gives_up_who_reads_along_tries_for_itself() -> None:
    works = Works(DATA, cut(DATA, 0, HALF), *[UpstreamFailed("down")] * RESUMES, ScriptedTransfer.rest_of(DATA, HALF))
    beside = works.beside()
    writing = asyncio.create_task(works.read())
    await settle()
    following = asyncio.create_task(beside.read())
    with pytest.raises(BodyCut):
        await writing
    assert await following == DATA
    await drain(beside.tasks, 60)
    beside.check_nothing_is_left()


@in_virtual_time
async def test_a_refusal_to_the_writer_is_not_one_to_who_waits_for_it() -> None:
    gate = asyncio.Event()
    works = Works(DATA, Held(gate, Denied("private")), ScriptedTransfer.whole(DATA))
    beside = works.beside()
    first = asyncio.create_task(works.read())
    await settle()
    second = asyncio.create_task(beside.read())
    await asyncio.sleep(A_WHILE)
    gate.set()
    with pytest.raises(Denied):
        await first
    assert await second == DATA
    await drain(beside.tasks, 60)
    beside.check_nothing_is_left()


@in_virtual_time
async def test_when_the_writer_is_stopped_the_reader_takes_over_as_well() -> None:
    pair = Pair(ScriptedTransfer.rest_of(DATA, HALF))
    writing, following = await pair.under_way()
    await pair.first.tasks.cancel()
    with pytest.raises(BodyCut):
        await writing
    assert await following == DATA
    assert pair.first.upstream.rests[-1].start == HALF
    await pair.end()


@in_virtual_time
async def test_readers_of_a_fill_that_is_stopped_while_it_reads_along_are_told() -> None:
    pair = Pair()
    writing, following = await pair.under_way()
    stopping = asyncio.create_task(pair.second.tasks.cancel())
    with pytest.raises(BodyCut):
        await asyncio.wait_for(following, A_WHILE)
    await stopping
    pair.gate.set()
    assert await writing == DATA
    await pair.end()


@in_virtual_time
async def test_whoever_takes_over_does_not_go_on_with_a_blob_of_another_length() -> None:
    # Its readers were told the first length: that many right bytes would be a complete body without the blob's digest.
    works = Works(DATA, ScriptedTransfer([DATA[:HALF], Never()], len(DATA) - 5), ScriptedTransfer.rest_of(DATA, HALF))
    beside = works.beside()
    writing = asyncio.create_task(works.read())
    await settle()
    body = await beside.open()
    assert body.size == len(DATA) - 5
    writing.cancel()
    await works.kill()
    with pytest.raises(BodyCut):
        await read_to_end(body)
    body.close()
    await drain(beside.tasks, 60)
    beside.check_nothing_is_left()


async def kill_after(turns: int) -> None:
    """Kill the writer after so many turns of the loop; whoever reads along gets all of it."""
    works = Works(DATA, ScriptedTransfer.whole(DATA, piece=HALF // 2))
    works.upstream.head_blobs += [len(DATA)] * 2
    beside = works.beside()
    reading = asyncio.create_task(works.read())
    following = asyncio.create_task(beside.read())
    await steps(turns)
    reading.cancel()
    await works.kill()
    works.upstream.blobs[:] = []
    size = max((inode.page.prefix for inode in works.disk.partial.values()), default=0)
    works.upstream.blobs += [ScriptedTransfer.rest_of(DATA, size)]
    assert await asyncio.wait_for(following, 60) == DATA
    await drain(beside.tasks, 60)
    assert works.disk.committed == {works.digest: DATA}
    beside.check_nothing_is_left()


def test_the_writer_may_be_killed_at_any_await() -> None:
    failed: dict[int, str] = {}
    for turns in range(1, 120):
        try:
            run(kill_after(turns))
        except (AssertionError, Stuck, BodyCut, TimeoutError) as error:
            failed[turns] = repr(error)[:200]
    assert not failed
