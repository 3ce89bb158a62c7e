"""Blobs that cannot be kept: through memory to those who read them now, in little of it, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mirror.proxy.fills.audience import WINDOW
from mirror.store.passage import SEGMENT, PassageFile
from tests.fakes import content, range_faults
from tests.fakes.faults import both, chunked, cut_at, short_body, stop_at, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.integration.aftermath import UNRELATED, Aftermath, ask_pipelined, unharmed
from tests.integration.byteranges import Part, parts_of
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
HOLD_BACK = 64 * 1024
SIZE = 24 * MIB
"""More than the window and than a kernel keeps for a client that reads nothing, together."""

BLOB = content.blob(SIZE)
PATH = f"/v2/library/alpine/blobs/{BLOB.digest}"
UPSTREAM_BYTES = 'mirror_upstream_bytes_total{upstream="docker.io"}'

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture(autouse=True)
def upstream(registry: FakeRegistry) -> None:
    registry.put_blob("library/alpine", BLOB)


@pytest.fixture
async def small(start_mirror: StartMirror) -> AsyncIterator[RunningMirror]:
    """A mirror whose cache has no room for the blob."""
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        yield mirror


@pytest.fixture
async def aftermath(
    small: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> AsyncIterator[Aftermath]:
    async with unharmed(small, registry, cache_folder) as after:
        registry.journal.clear()
        yield after
        assert cache_folder.digests() == {UNRELATED.digest}


@pytest.fixture
def impatient_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.proxy.fills.audience.LAGGING_SECONDS", 0.3)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much of a blob was in memory, after each write to it."""
    sizes: list[int] = []
    append = PassageFile.append

    async def recorded(passage: PassageFile, data: bytes) -> None:
        await append(passage, data)
        sizes.append(passage.size - passage.floor)

    monkeypatch.setattr(PassageFile, "append", recorded)
    return sizes


@pytest.mark.usefixtures("impatient_readers")
async def test_who_keeps_others_waiting_is_cut_and_memory_stays_small(
    registry: FakeRegistry,
    journal: Journal,
    joins: Joins,
    small: RunningMirror,
    aftermath: Aftermath,
    in_memory: list[int],
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(0, gate))
    async with raw_client(small, receive_buffer=4096) as stalled:
        await stalled.ask(PATH)
        fast = [asyncio.create_task(ask_pipelined(small, PATH)) for _ in range(3)]
        await joins.reach(4)
        gate.open()
        for answer in await asyncio.gather(*fast):
            assert (answer.whole, answer.body == BLOB.data) == (True, True)
            assert answer.head.headers["cache-status"] in {"mirror; fwd=miss", "mirror; fwd=miss; collapsed"}
        head = await stalled.head()
        received = await stalled.rest()
    assert (head.status, head.length) == (200, SIZE)
    assert len(received) < SIZE - HOLD_BACK
    assert BLOB.data.startswith(received)
    assert journal.body_bytes(PATH) == SIZE
    assert max(in_memory) <= WINDOW + 2 * SEGMENT


@pytest.mark.usefixtures("impatient_readers")
async def test_who_is_alone_may_take_its_time(small: RunningMirror, aftermath: Aftermath, in_memory: list[int]) -> None:
    async with raw_client(small, receive_buffer=4096) as client:
        await client.ask(PATH)
        begun = await client.head()
        assert begun.length == SIZE
        # Nobody waits for it but upstream, which is not read any faster, whatever the kernel takes in meanwhile.
        await until(lambda: bool(in_memory) and in_memory[-1] >= WINDOW, "the window is full")
        await asyncio.sleep(1)
        assert await small.metric(UPSTREAM_BYTES) < SIZE // 2 + WINDOW
        assert await client.exactly(SIZE) == BLOB.data
    assert max(in_memory) <= WINDOW + 2 * SEGMENT


async def test_parts_further_apart_than_what_is_in_memory(
    journal: Journal, small: RunningMirror, aftermath: Aftermath, in_memory: list[int]
) -> None:
    spans = [(0, 10), (MIB, 9 * MIB), (20 * MIB, 20 * MIB + 1), (SIZE - 5, SIZE)]
    async with raw_client(small) as client:
        await client.ask(PATH, Range="bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in spans))
        answer = await client.answer()
    parts = [Part(start, BLOB.data[start:stop], SIZE) for start, stop in spans]
    assert parts_of(answer.head.headers, answer.body) == parts
    assert journal.body_bytes(PATH) == SIZE
    assert max(in_memory) <= WINDOW + 2 * SEGMENT


async def test_who_comes_too_late_gets_a_transfer_of_its_own(
    registry: FakeRegistry, journal: Journal, small: RunningMirror, aftermath: Aftermath
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(8 * MIB, gate))
    async with raw_client(small) as first:
        await first.ask(PATH)
        await first.head()
        begun = await first.exactly(8 * MIB)
        late = [asyncio.create_task(ask_pipelined(small, PATH)) for _ in range(2)]
        for answer in await asyncio.gather(*late):
            assert (answer.whole, answer.body == BLOB.data) == (True, True)
        gate.open()
        assert begun + await first.exactly(SIZE - 8 * MIB) == BLOB.data
    # The late ones share theirs, if they are in time for that.
    assert journal.count("GET", PATH) in {2, 3}


async def test_nobody_is_left(
    registry: FakeRegistry, journal: Journal, small: RunningMirror, aftermath: Aftermath
) -> None:
    async with raw_client(small) as only:
        await only.ask(PATH)
        await only.head()
        await only.exactly(MIB)
        only.reset()
    await until_metric(small, "mirror_fills_in_flight", 0)
    (entry,) = journal.select("GET", PATH)
    assert not entry.complete


ENDS: dict[str, Fault] = {
    "a cut": cut_at(12 * MIB),
    "an end in order": short_body(12 * MIB),
    "a cut within chunks": both(chunked, cut_at(12 * MIB)),
}


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_transfer_that_ends_early_goes_on(
    registry: FakeRegistry, journal: Journal, small: RunningMirror, aftermath: Aftermath, end: Fault, anew: bool
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(12 * MIB, gate), end), method="GET")
    if anew:
        # What has passed is gone and cannot be compared; the digest tells in the end.
        registry.fault(PATH, range_faults.ignored, method="GET")
    reader = asyncio.create_task(ask_pipelined(small, PATH))
    await gate.reached()
    await until_metric(small, UPSTREAM_BYTES, UNRELATED.size + 12 * MIB)
    gate.open()
    answer = await reader
    assert (answer.whole, answer.body == BLOB.data) == (True, True)
    assert [entry.range for entry in journal.select("GET", PATH)] == [None, f"bytes={12 * MIB}-"]


@pytest.mark.parametrize("at", [0, SIZE // 2, SIZE - 1])
async def test_wrong_bytes_are_cut_before_the_tail(
    registry: FakeRegistry, small: RunningMirror, aftermath: Aftermath, at: int
) -> None:
    registry.fault(PATH, wrong_bytes(at))
    answer = await ask_pipelined(small, PATH)
    assert (answer.head.status, answer.whole) == (200, False)
    assert len(answer.body) <= SIZE - HOLD_BACK
    again = await ask_pipelined(small, PATH)
    assert (again.whole, again.body == BLOB.data) == (True, True)


async def test_there_are_only_so_many(
    registry: FakeRegistry, small: RunningMirror, aftermath: Aftermath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.store.passage.MOST_PASSAGES", 1)
    other = content.blob(3 * MIB, "other")
    path = f"/v2/library/alpine/blobs/{other.digest}"
    registry.put_blob("library/alpine", other)
    gate = Gate()
    registry.fault(PATH, stop_at(MIB, gate))
    first = asyncio.create_task(ask_pipelined(small, PATH))
    await gate.reached()
    refused = await ask_pipelined(small, path)
    assert (refused.head.status, refused.whole) == (503, True)
    gate.open()
    assert (await first).body == BLOB.data
    await until_metric(small, "mirror_fills_in_flight", 0)
    assert (await ask_pipelined(small, path)).body == other.data
