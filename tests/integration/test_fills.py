"""Fills: streamed while they grow, joined by everybody, outliving whoever caused them, and never wrong."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import (
    both,
    chunked,
    cut_at,
    dropped,
    gzip_encoded,
    healthy,
    hold,
    html,
    other_body,
    raw,
    status,
    stop_at,
    truncated,
    wrong_bytes,
)
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.integration.aftermath import ask_pipelined
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.paths import path_of
from tests.integration.raw_http import RawAnswer, raw_client
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
HOLD_BACK = 64 * 1024
LARGE = 8 * MIB + 3
SMALL = 300_000
UPSTREAM_BYTES = 'mirror_upstream_bytes_total{upstream="docker.io"}'
MISMATCHES = 'mirror_digest_mismatches_total{upstream="docker.io"}'


def put(registry: FakeRegistry, size: int) -> FakeBlob:
    blob = content.blob(size)
    registry.put_blob("library/alpine", blob)
    return blob


@pytest.fixture
def large(registry: FakeRegistry) -> FakeBlob:
    return put(registry, LARGE)


@pytest.fixture
def small(registry: FakeRegistry) -> FakeBlob:
    return put(registry, SMALL)


async def settled(mirror: RunningMirror) -> None:
    await until_metric(mirror, "mirror_fills_in_flight", 0)


# Streaming. ----------------------------------------------------------------------------------------------


async def test_clients_have_what_upstream_has_sent_while_it_sends_no_more(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, large: FakeBlob
) -> None:
    gates = [(MIB, Gate()), (4 * MIB, Gate()), (7 * MIB, Gate())]
    registry.fault(path_of(large), both(*(stop_at(at, gate) for at, gate in gates)))

    async with raw_client(mirror) as client:
        await client.ask(path_of(large))
        assert (await client.head()).length == LARGE
        read = b""
        for at, gate in gates:
            read += await client.exactly(at - len(read))
            assert read == large.data[:at]
            assert await client.nothing_comes()
            gate.open()
        assert read + await client.exactly(LARGE - len(read)) == large.data
        assert await client.nothing_comes()
    assert journal.paths() == [f"GET {path_of(large)}"]


async def test_the_tail_is_held_back_until_the_digest_matches(
    registry: FakeRegistry, mirror: RunningMirror, cache_folder: CacheFolder, large: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(path_of(large), stop_at(LARGE - 1, gate))

    async with raw_client(mirror) as client:
        await client.ask(path_of(large))
        await client.head()
        begun = await client.exactly(LARGE - HOLD_BACK)
        # The mirror itself has all but the last byte, in a file that is not a blob yet.
        await until(lambda: cache_folder.partial(large.digest).stat().st_size == LARGE - 1, "all but one byte")
        assert await client.nothing_comes()
        assert cache_folder.digests() == set()
        gate.open()
        assert begun + await client.exactly(HOLD_BACK) == large.data
    await until(lambda: cache_folder.digests() == {large.digest}, "the blob is committed")


async def test_a_small_blob_is_verified_before_its_head(
    registry: FakeRegistry, mirror: RunningMirror, small: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(path_of(small), stop_at(SMALL - 1, gate))

    async with raw_client(mirror) as client:
        await client.ask(path_of(small))
        await gate.reached()
        await until_metric(mirror, UPSTREAM_BYTES, SMALL - 1)
        assert await client.nothing_comes()
        gate.open()
        answer = await client.answer()
        assert (answer.head.status, answer.body) == (200, small.data)


async def test_a_small_blob_that_takes_long_is_streamed(
    registry: FakeRegistry, mirror: RunningMirror, small: FakeBlob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.proxy.fills.fill.SMALL_PATIENCE", 0.1)
    gate = Gate()
    registry.fault(path_of(small), both(wrong_bytes(SMALL - 1), stop_at(SMALL - 1, gate)))

    async with raw_client(mirror) as client:
        await client.ask(path_of(small))
        head = await client.head()
        assert (head.status, head.length) == (200, SMALL)
        assert await client.exactly(SMALL - HOLD_BACK) == small.data[:-HOLD_BACK]
        assert await client.nothing_comes()
        gate.open()
        assert await client.rest() == b""


async def test_late_joiners_get_everything(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, large: FakeBlob
) -> None:
    stops = [(MIB, Gate()), (4 * MIB, Gate()), (LARGE - 1, Gate())]
    registry.fault(path_of(large), both(*(stop_at(at, gate) for at, gate in stops)))

    readers = [asyncio.create_task(ask_pipelined(mirror, path_of(large)))]
    for at, gate in stops:
        await gate.reached()
        await until_metric(mirror, UPSTREAM_BYTES, at)
        async with raw_client(mirror) as late:
            # Whoever comes now has at once what is there.
            await late.ask(path_of(large))
            head = await late.head()
            assert head.headers["cache-status"] == "mirror; fwd=miss; collapsed; stored"
            there = min(at, LARGE - HOLD_BACK)
            assert await late.exactly(there) == large.data[:there]
        readers.append(asyncio.create_task(ask_pipelined(mirror, path_of(large))))
        gate.open()
    answers = await asyncio.gather(*readers)

    assert all(answer.whole and answer.body == large.data for answer in answers)
    assert journal.count() == 1
    assert journal.body_bytes() == LARGE


async def test_the_client_that_caused_a_fill_leaves(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder, large: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(path_of(large), stop_at(4 * MIB, gate))

    async with raw_client(mirror) as first:
        await first.ask(path_of(large))
        await first.head()
        await first.exactly(2 * MIB)
        followers = [asyncio.create_task(ask_pipelined(mirror, path_of(large))) for _ in range(5)]
        await gate.reached()
        first.reset()
    gate.open()
    answers = await asyncio.gather(*followers)

    assert all(answer.whole and answer.body == large.data for answer in answers)
    assert journal.paths() == [f"GET {path_of(large)}"]
    await settled(mirror)
    assert cache_folder.file(large.digest).read_bytes() == large.data
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")


@pytest.mark.parametrize("before_the_head", [True, False])
async def test_a_fill_goes_on_when_its_last_client_has_left(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    large: FakeBlob,
    before_the_head: bool,
) -> None:
    gate = Gate()
    registry.fault(path_of(large), hold(gate) if before_the_head else stop_at(4 * MIB, gate))

    async with raw_client(mirror) as client:
        await client.ask(path_of(large))
        await gate.reached()
        if not before_the_head:
            await client.head()
            await client.exactly(MIB)
        client.reset()
    gate.open()

    await until(lambda: cache_folder.digests() == {large.digest}, "the blob is committed")
    await settled(mirror)
    assert cache_folder.file(large.digest).read_bytes() == large.data
    journal.clear()
    response, body = await mirror.get(path_of(large))
    assert (response.headers["Cache-Status"], body) == ("mirror; hit", large.data)
    assert not journal.entries


async def test_a_client_that_reads_nothing_slows_nobody(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder
) -> None:
    blob = put(registry, 32 * MIB)
    gate = Gate()
    registry.fault(path_of(blob), stop_at(MIB, gate))

    async with raw_client(mirror, receive_buffer=4096) as stalled:
        await stalled.ask(path_of(blob))
        assert (await stalled.head()).status == 200
        await gate.reached()
        followers = [asyncio.create_task(ask_pipelined(mirror, path_of(blob))) for _ in range(3)]
        gate.open()
        assert all(answer.body == blob.data for answer in await asyncio.gather(*followers))
        await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")
        warm = await ask_pipelined(mirror, path_of(blob))
        assert (warm.head.headers["cache-status"], warm.body) == ("mirror; hit", blob.data)
        # It has lost nothing by it.
        assert await stalled.exactly(blob.size) == blob.data
        assert await stalled.nothing_comes()
    assert journal.count() == 1


async def test_a_stalled_client_is_cut_and_nobody_else(
    registry: FakeRegistry, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.outlet.STALL_SECONDS", 0.5)
    blob = put(registry, 32 * MIB)
    gate = Gate()
    registry.fault(path_of(blob), stop_at(16 * MIB, gate))

    async with raw_client(mirror) as waiting, raw_client(mirror, receive_buffer=4096) as stalled:
        await stalled.ask(path_of(blob))
        await stalled.head()
        await waiting.ask(path_of(blob))
        await waiting.head()
        begun = await waiting.exactly(16 * MIB)
        cut = 'mirror_requests_total{kind="blob",outcome="miss",upstream="docker.io"}'
        await until_metric(mirror, cut, 1)
        # Who waits for upstream is not stalled, however long it takes.
        assert await waiting.nothing_comes(1.0)
        gate.open()
        assert begun + await waiting.exactly(16 * MIB) == blob.data
        received = await stalled.rest()
        assert len(received) < blob.size
        assert blob.data.startswith(received)


# Wrong bytes. --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, LARGE // 2, LARGE - 1])
async def test_wrong_bytes_of_a_large_blob_are_cut_before_the_tail(
    registry: FakeRegistry,
    joins: Joins,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    large: FakeBlob,
    at: int,
) -> None:
    gate = Gate()
    registry.fault(path_of(large), both(wrong_bytes(at), hold(gate)))

    clients = [asyncio.create_task(ask_pipelined(mirror, path_of(large))) for _ in range(10)]
    await gate.reached()
    await joins.reach(10)
    gate.open()
    for answer in await asyncio.gather(*clients):
        # A client may be in time to be told properly; none may take wrong bytes for the blob.
        if answer.head.status == 200:
            assert (answer.head.length, answer.whole) == (LARGE, False)
            assert len(answer.body) <= LARGE - HOLD_BACK
        else:
            assert answer.head.status == 502

    await settled(mirror)
    assert registry.journal.count("GET") == 1
    assert cache_folder.digests() == set()
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")
    assert await mirror.metric(MISMATCHES) == 1

    response, body = await mirror.get(path_of(large))
    assert (response.status, body) == (200, large.data)
    assert registry.journal.count("GET") == 2


SIZES = pytest.mark.parametrize("size", [1, HOLD_BACK, SMALL, MIB])


@SIZES
async def test_wrong_bytes_of_a_small_blob_are_fetched_once_more(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder, size: int
) -> None:
    blob = put(registry, size)
    registry.fault(path_of(blob), wrong_bytes())

    answers = await asyncio.gather(*(ask_pipelined(mirror, path_of(blob)) for _ in range(10)))

    # Nobody has had a byte of the first ones.
    assert [answer.body for answer in answers] == [blob.data] * 10
    assert [entry.range for entry in journal.select("GET")] == [None, None]
    assert await mirror.metric(MISMATCHES) == 1
    await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")


@SIZES
async def test_a_small_blob_that_is_wrong_twice_is_a_clean_error(
    registry: FakeRegistry,
    journal: Journal,
    joins: Joins,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr("mirror.proxy.failures.UNAVAILABLE_SECONDS", 1.0)
    blob = put(registry, size)
    gate = Gate()
    registry.fault(path_of(blob), both(wrong_bytes(), hold(gate)), wrong_bytes(0))

    clients = [asyncio.create_task(ask_pipelined(mirror, path_of(blob))) for _ in range(10)]
    await gate.reached()
    await joins.reach(10)
    gate.open()
    for answer in await asyncio.gather(*clients):
        assert (answer.head.status, answer.whole) == (502, True)
        assert answer.head.headers["content-type"] == "application/json"
        assert b'"UNAVAILABLE"' in answer.body

    await settled(mirror)
    assert journal.count("GET") == 2
    assert cache_folder.digests() == set()
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")
    assert await mirror.metric(MISMATCHES) == 2
    # Twice is no accident: for a moment nobody asks again.
    assert (await ask_pipelined(mirror, path_of(blob))).head.status == 502
    assert journal.count("GET") == 2
    await until_answer(mirror, path_of(blob), blob.data)
    await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")


WRONG: dict[str, Fault] = {
    "complete to HTTP, and too short": truncated(LARGE // 2),
    "complete to HTTP, and too long": other_body(content.blob(LARGE).data + b"more"),
    "wrong in chunks": both(chunked, wrong_bytes()),
}


@pytest.mark.parametrize("fault", WRONG.values(), ids=WRONG)
async def test_a_transfer_that_is_another_blob_ends_in_no_complete_body(
    registry: FakeRegistry,
    joins: Joins,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    large: FakeBlob,
    fault: Fault,
) -> None:
    gate = Gate()
    registry.fault(path_of(large), both(fault, hold(gate)), method="GET")

    clients = [asyncio.create_task(ask_pipelined(mirror, path_of(large))) for _ in range(5)]
    await gate.reached()
    await joins.reach(5)
    gate.open()
    for answer in await asyncio.gather(*clients):
        if answer.head.status == 200:
            assert not answer.whole
            assert len(answer.body) <= int(answer.head.headers.get("content-length", LARGE)) - HOLD_BACK
        else:
            assert (answer.head.status, answer.whole) == (502, True)

    await settled(mirror)
    assert registry.journal.count("GET") == 1
    assert cache_folder.digests() == set()
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")

    response, body = await mirror.get(path_of(large))
    assert (response.status, body) == (200, large.data)
    await until(lambda: cache_folder.digests() == {large.digest}, "the blob is committed")


@pytest.mark.parametrize(
    "fault",
    [
        html,
        gzip_encoded,
        truncated(10),
        dropped,
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        status(204),
        status(206),
        status(304),
        status(400),
        status(418),
    ],
    ids=[
        "a log-in page",
        "encoded",
        "too short",
        "no answer",
        "not HTTP",
        "two lengths",
        "a negative length",
        "204",
        "206",
        "304",
        "400",
        "418",
    ],
)
@pytest.mark.usefixtures("forgetful", "quick_retries")
async def test_an_answer_that_is_no_blob_is_a_clean_error(
    registry: FakeRegistry, mirror: RunningMirror, cache_folder: CacheFolder, small: FakeBlob, fault: Fault
) -> None:
    # aiohttp asks once more on its own where a kept connection was closed without an answer.
    registry.always(path_of(small), fault)

    answer = await ask_pipelined(mirror, path_of(small))

    assert (answer.head.status, answer.whole) == (502, True)
    assert b'"UNAVAILABLE"' in answer.body
    assert answer.head.headers["cache-status"].startswith("mirror; detail=upstream-") or (
        answer.head.headers["cache-status"] == "mirror; detail=digest-mismatch"
    )
    await settled(mirror)
    assert cache_folder.digests() == set()
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")
    registry.heal()
    response, body = await mirror.get(path_of(small))
    assert (response.status, body) == (200, small.data)


async def test_an_upstream_that_does_not_begin_to_answer(
    registry: FakeRegistry, start_mirror: StartMirror, small: FakeBlob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.upstream.egress.SILENCE_SECONDS", 0.5)
    registry.fault(path_of(small), hold(Gate()))

    async with start_mirror() as mirror:
        answers = await asyncio.gather(*(ask_pipelined(mirror, path_of(small)) for _ in range(5)))
        assert [(answer.head.status, answer.whole) for answer in answers] == [(504, True)] * 5
        assert registry.journal.count("GET") == 1
        response, body = await mirror.get(path_of(small))
        assert (response.status, body) == (200, small.data)


# Errors before the head. -----------------------------------------------------------------------------------


CODES = {403: b'"DENIED"', 404: b'"BLOB_UNKNOWN"', 502: b'"UNAVAILABLE"', 503: b'"UNAVAILABLE"'}


@pytest.mark.usefixtures("undaunted")
@pytest.mark.parametrize(
    ("answered", "expected"), [(404, 404), (401, 403), (403, 403), (429, 503), (500, 502), (503, 502)]
)
async def test_everyone_who_waits_is_told_the_same_and_upstream_is_asked_once(
    registry: FakeRegistry,
    joins: Joins,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    answered: int,
    expected: int,
) -> None:
    large = put(registry, LARGE)
    gate = Gate()
    registry.always(path_of(large), both(status(answered), hold(gate)))

    clients = [asyncio.create_task(mirror.get(path_of(large))) for _ in range(20)]
    clients += [asyncio.create_task(mirror.get(path_of(large), headers={"Range": "bytes=5-"})) for _ in range(5)]
    await gate.reached()
    await joins.reach(25)
    gate.open()
    answers = await asyncio.gather(*clients)

    assert {response.status for response, _ in answers} == {expected}
    assert all(CODES[expected] in body for _, body in answers)
    assert len({body for _, body in answers}) == 1
    assert registry.journal.paths() == [f"GET {path_of(large)}"]
    assert await mirror.metric("mirror_fills_in_flight") == 0
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")

    registry.heal()
    if expected not in {403, 404}:
        # "It cannot be asked" says nothing about the blob.
        await until_answer(mirror, path_of(large), large.data)


async def until_answer(mirror: RunningMirror, path: str, data: bytes) -> None:
    """Ask until the blob comes; a failure may be remembered for some seconds."""
    async with asyncio.timeout(45):
        while (answer := await mirror.get(path))[0].status != 200:  # noqa: ASYNC110  # time alone ends it
            await asyncio.sleep(0.1)
    assert answer[1] == data


async def test_an_upstream_that_is_down(registry: FakeRegistry, mirror: RunningMirror, large: FakeBlob) -> None:
    await registry.stop()
    answers = await asyncio.gather(*(mirror.get(path_of(large)) for _ in range(5)))
    assert {response.status for response, _ in answers} == {502}
    await registry.start()
    await until_answer(mirror, path_of(large), large.data)


async def test_fills_in_flight_are_counted_and_end(
    registry: FakeRegistry, mirror: RunningMirror, large: FakeBlob, small: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(path_of(large), both(stop_at(MIB, gate), cut_at(LARGE // 2)), healthy)
    registry.fault(path_of(small), stop_at(1000, gate))
    readers = [asyncio.create_task(ask_pipelined(mirror, path_of(blob))) for blob in (large, small)]
    await until_metric(mirror, "mirror_fills_in_flight", 2)
    gate.open()
    await asyncio.gather(*readers)
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    await mirror.get(path_of(large))
    await until_metric(mirror, "mirror_fills_in_flight", 0)


# The mirror stops. -----------------------------------------------------------------------------------------


async def test_a_fill_that_a_stop_interrupts_is_gone_on_with_after_the_next_start(
    registry: FakeRegistry,
    journal: Journal,
    start_mirror: StartMirror,
    cache_folder: CacheFolder,
    large: FakeBlob,
    small: FakeBlob,
) -> None:
    never = Gate()
    registry.fault(path_of(large), stop_at(LARGE // 2, never))
    registry.fault(path_of(small), hold(never))

    async with start_mirror(drain_timeout="100ms") as mirror:
        readers = [asyncio.create_task(cut_or_refused(mirror, path_of(blob))) for blob in (large, large, small)]
        await journal.wait_for(2)
        await until(lambda: cache_folder.partial(large.digest).exists(), "the fill has begun")
        await until_metric(mirror, UPSTREAM_BYTES, LARGE // 2)
    await asyncio.gather(*readers)
    assert cache_folder.partial(large.digest).read_bytes() == large.data[: LARGE // 2]
    assert cache_folder.digests() == set()
    journal.clear()

    async with start_mirror() as mirror:
        for blob in (large, small):
            response, body = await mirror.get(path_of(blob))
            assert (response.status, body) == (200, blob.data)
        await settled(mirror)
        await until(lambda: cache_folder.partials() == [], "nothing partial is left")
    assert [entry.range for entry in journal.entries] == [f"bytes={LARGE // 2}-", None]


async def cut_or_refused(mirror: RunningMirror, path: str) -> None:
    async with raw_client(mirror) as client:
        await client.ask(path)
        everything = await client.rest()
    head, _, body = everything.partition(b"\r\n\r\n")
    assert not head.startswith(b"HTTP/1.1 200") or len(body) < LARGE


async def test_a_mirror_that_stops_lets_a_fill_finish(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, large: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(path_of(large), stop_at(LARGE // 2, gate))

    async with start_mirror(drain_timeout="10s") as mirror:
        reader = asyncio.create_task(raw_get_alone(mirror, path_of(large)))
        await gate.reached()
        await until_metric(mirror, UPSTREAM_BYTES, LARGE // 2)
        asyncio.get_running_loop().call_later(0.2, gate.open)
    answer = await reader

    assert answer.whole
    assert answer.body == large.data
    assert cache_folder.digests() == {large.digest}
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")


async def raw_get_alone(mirror: RunningMirror, path: str) -> RawAnswer:
    async with raw_client(mirror) as client:
        await client.ask(path)
        return await client.answer()


async def test_what_a_killed_mirror_left_behind_is_gone_on_with(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder, large: FakeBlob
) -> None:
    partial = cache_folder.partial(large.digest)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(large.data[: LARGE // 2])

    async with start_mirror() as mirror:
        response, body = await mirror.get(path_of(large))
        assert (response.status, body) == (200, large.data)
        await settled(mirror)
        await until(lambda: cache_folder.partials() == [], "nothing partial is left")
    assert [entry.range for entry in journal.entries] == [f"bytes={LARGE // 2}-"]


async def test_a_whole_blob_that_a_killed_mirror_left_behind_costs_a_question_and_no_byte(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder, large: FakeBlob
) -> None:
    partial = cache_folder.partial(large.digest)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(large.data)

    async with start_mirror() as mirror:
        response, body = await mirror.get(path_of(large))
        assert (response.status, body) == (200, large.data)
        await until(lambda: cache_folder.digests() == {large.digest}, "the blob is committed")
    assert journal.paths() == [f"HEAD {path_of(large)}"]


async def test_bytes_left_behind_that_are_not_the_blobs_cost_one_attempt(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, large: FakeBlob
) -> None:
    partial = cache_folder.partial(large.digest)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * (LARGE // 2))

    async with start_mirror() as mirror:
        first = await ask_pipelined(mirror, path_of(large))
        assert not (first.whole and first.head.status == 200)
        await settled(mirror)
        assert (cache_folder.partials(), cache_folder.digests()) == ([], set())
        response, body = await mirror.get(path_of(large))
        assert (response.status, body) == (200, large.data)
