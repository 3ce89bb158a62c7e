"""Several processes on one cache folder: one fetches, the others read along, and whoever dies is replaced."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.fakes.content import FakeBlob
from tests.fakes.faults import both, chunked, cut_at, stop_at, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.half_sent import HALF, SIZE, blob, gate
from tests.integration.paths import path_of
from tests.integration.processes import MIB, Mirrors, committed, kill, mirrors, pull, put, reading, written
from tests.integration.raw_http import Cut
from tests.integration.waiting import until

READABLE = HALF - 128 * 1024
"""What clients can be sure to have when upstream has sent half."""

__all__ = ["blob", "gate", "mirrors"]


async def test_all_processes_together_fetch_a_blob_once(
    mirrors: Mirrors, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    asked = await mirrors.start(3) * 4
    async with reading(blob, *asked) as readers:
        # Whoever does not fetch has the bytes as they come.
        await asyncio.gather(*(reader.up_to(READABLE) for reader in readers))
        assert journal.body_bytes() == HALF
        gate.open()
        assert all(await asyncio.gather(*(reader.comes_whole() for reader in readers)))
    await committed(mirrors.cache, blob)
    assert journal.paths() == [f"GET {path_of(blob)}"]
    assert journal.body_bytes() == SIZE


async def test_a_blob_of_unknown_length_is_read_along_as_well(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.always(path_of(blob), both(chunked, stop_at(HALF, gate)))
    asked = await mirrors.start(2)
    urls = [f"http://{mirror.address('public')}{path_of(blob)}" for mirror in asked]
    async with asked[0].session.get(urls[0]) as one, asked[1].session.get(urls[1]) as other:
        begun = [await response.content.readexactly(READABLE) for response in (one, other)]
        gate.open()
        assert [first + await rest.content.read() for first, rest in zip(begun, (one, other), strict=True)] == [
            blob.data
        ] * 2
    assert journal.body_bytes() == SIZE


async def test_clients_of_the_others_do_not_notice_that_the_writer_was_killed(
    mirrors: Mirrors, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    writer, *others = await mirrors.start(3)
    async with reading(blob, writer) as dying, reading(blob, *others, *others) as readers:
        await asyncio.gather(*(reader.up_to(READABLE) for reader in [*dying, *readers]))
        await written(mirrors.cache, blob, HALF)
        await kill(writer)
        assert all(await asyncio.gather(*(reader.comes_whole() for reader in readers)))
    first, resumed = journal.select("GET", path_of(blob))
    assert resumed.range == f"bytes={HALF}-"
    assert (first.sent, resumed.sent) == (HALF, SIZE - HALF)
    await committed(mirrors.cache, blob)
    assert await pull(others[0], blob) == "mirror; hit"


async def test_whoever_takes_over_may_be_killed_as_well(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    second = Gate()
    registry.fault(path_of(blob), stop_at(SIZE // 4, second))
    one, two, three = await mirrors.start(3)
    async with reading(blob, one):
        await written(mirrors.cache, blob, HALF)
        async with reading(blob, two):
            await kill(one)
            await written(mirrors.cache, blob, HALF + SIZE // 4)
            async with reading(blob, three) as (reader,):
                await kill(two)
                assert await reader.comes_whole()
    assert [entry.range for entry in journal.entries] == [None, f"bytes={HALF}-", f"bytes={HALF + SIZE // 4}-"]
    assert journal.body_bytes() == SIZE


async def test_a_mirror_that_was_killed_goes_on_where_it_stopped(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal, blob: FakeBlob
) -> None:
    at = SIZE * 6 // 10
    registry.fault(path_of(blob), stop_at(at, Gate()))
    (mirror,) = await mirrors.start(1)
    async with reading(blob, mirror):
        await written(mirrors.cache, blob, at)
        await kill(mirror)
    (mirror,) = await mirrors.start(1)
    await pull(mirror, blob)
    assert [entry.range for entry in journal.entries] == [None, f"bytes={at}-"]
    assert journal.body_bytes() == SIZE


async def test_a_writer_that_stands_still_for_a_while_is_waited_for(
    mirrors: Mirrors, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    writer, other = await mirrors.start(2)
    async with reading(blob, writer, other) as (own, along):
        await along.up_to(READABLE)
        writer.process.send_signal(signal.SIGSTOP)
        gate.open()
        # Longer than anybody needs to see that nothing comes.
        await asyncio.sleep(0.5)
        assert journal.count("GET", path_of(blob)) == 1
        writer.process.send_signal(signal.SIGCONT)
        assert await own.comes_whole()
        assert await along.comes_whole()
    assert journal.body_bytes() == SIZE


async def test_clients_of_the_others_do_not_notice_that_the_writer_was_stopped(
    mirrors: Mirrors, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    (writer,) = await mirrors.start(1, drain_timeout="1s")
    (other,) = await mirrors.start(1)
    async with reading(blob, writer) as _, reading(blob, other) as (along,):
        await along.up_to(READABLE)
        await written(mirrors.cache, blob, HALF)
        writer.terminate()
        assert await writer.exit_code() == 0
        assert await along.comes_whole()
    assert [entry.range for entry in journal.entries] == [None, f"bytes={HALF}-"]


async def test_a_writer_that_is_stopped_with_time_left_finishes(
    mirrors: Mirrors, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    writer, other = await mirrors.start(2)
    async with reading(blob, writer, other) as (own, along):
        writer.terminate()
        await along.up_to(READABLE)
        gate.open()
        assert await own.comes_whole()
        assert await along.comes_whole()
    assert await writer.exit_code() == 0
    assert journal.body_bytes() == SIZE


async def test_when_the_writer_gives_up_nobody_waits_and_the_next_request_goes_on(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    writer, other = await mirrors.start(2)
    async with reading(blob, writer, other) as readers:
        await written(mirrors.cache, blob, HALF)
        registry.always(path_of(blob), cut_at(0))
        await registry.stop()
        await registry.start()
        for reader in readers:
            with pytest.raises(Cut):
                await reader.comes_whole()
    registry.heal(path_of(blob))
    await pull(other, blob)
    assert journal.entries[-1].range == f"bytes={HALF}-"
    assert journal.body_bytes() == SIZE


async def test_wrong_bytes_of_a_small_blob_reach_nobody(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal
) -> None:
    small, gate = put(registry, MIB // 2, "small"), Gate()
    registry.fault(path_of(small), both(wrong_bytes(0), stop_at(MIB // 4, gate)))
    writer, other = await mirrors.start(2)
    first = asyncio.create_task(pull(writer, small))
    await gate.reached()
    second = asyncio.create_task(pull(other, small))
    await asyncio.sleep(0.3)  # the other reads along; nothing tells so before the head of its answer
    gate.open()
    # It is fetched once more, and nobody has to know.
    await asyncio.gather(first, second)
    assert journal.body_bytes() == 2 * small.size


async def test_wrong_bytes_of_a_large_blob_are_cut_everywhere(
    mirrors: Mirrors, registry: FakeRegistry, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(path_of(blob), both(wrong_bytes(0), stop_at(HALF, gate)))
    writer, other = await mirrors.start(2)
    async with reading(blob, writer, other) as readers:
        gate.open()
        for reader in readers:
            with pytest.raises(Cut):
                await reader.comes_whole()
    await pull(other, blob)
    assert await pull(writer, blob) == "mirror; hit"


async def test_a_blob_that_cannot_be_kept_passes_through_each_process(
    mirrors: Mirrors, journal: Journal, blob: FakeBlob
) -> None:
    pair = await mirrors.start(2, cache={"max_size": "4MiB"})
    statuses = await asyncio.gather(*(pull(mirror, blob) for mirror in pair))
    assert all("stored" not in status for status in statuses), statuses
    # Each for itself: there is nothing on disk to read along from.
    assert journal.body_bytes() <= 2 * SIZE
    await until(lambda: mirrors.cache.partials() == [], "nothing is left behind")
    assert mirrors.cache.digests() == set()


async def test_a_repository_reads_along_with_another_only_with_upstreams_yes(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    put(registry, 1, "something", repository="library/debian")
    foreign = path_of(blob, "library/debian")
    registry.absent(foreign)
    writer, other = await mirrors.start(2)
    async with reading(blob, writer) as (own,):
        await written(mirrors.cache, blob, HALF)
        asked = asyncio.create_task(other.get(foreign))
        await asyncio.sleep(0.3)  # long enough to read along, were it allowed
        gate.open()
        assert await own.comes_whole()
        assert (await asked)[0].status == 404
    assert journal.count(path=foreign) >= 1
