"""Parts of a blob, stored, growing and cold: what clients resume with, never a second transfer from upstream."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import both, chunked, cut_at, hold, stop_at, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.blob_states import BLOB, HOLD_BACK, MIB, PATH, SIZE, STATES, State
from tests.integration.conftest import RunningMirror
from tests.integration.joins import Joins
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until_metric


@pytest.fixture
def blob(registry: FakeRegistry) -> FakeBlob:
    registry.put_blob("library/alpine", BLOB)
    return BLOB


@STATES
@pytest.mark.parametrize("start", [0, 1, MIB - 1, MIB, 2 * MIB, SIZE - HOLD_BACK - 1, SIZE - HOLD_BACK, SIZE - 1])
async def test_the_rest_of_a_blob(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, blob: FakeBlob, state: State, start: int
) -> None:
    async with state(registry, mirror):
        response, body = await mirror.get(PATH, headers={"Range": f"bytes={start}-"})

    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {start}-{SIZE - 1}/{SIZE}"
    assert response.headers["Content-Length"] == str(SIZE - start)
    assert response.headers["Docker-Content-Digest"] == blob.digest
    assert response.headers["ETag"] == f'"{blob.digest}"'
    assert body == blob.data[start:]
    assert [(entry.method, entry.range) for entry in journal.entries] == [("GET", None)]


@STATES
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=10-19", (10, 19)),
        (f"bytes=0-{SIZE - 1}", (0, SIZE - 1)),
        (f"bytes=0-{SIZE}", (0, SIZE - 1)),
        (f"bytes={MIB}-{10**17}", (MIB, SIZE - 1)),
        ("bytes=-1", (SIZE - 1, SIZE - 1)),
        (f"bytes=-{MIB}", (SIZE - MIB, SIZE - 1)),
        (f"bytes=-{SIZE + 1}", (0, SIZE - 1)),
        ("Bytes=5-6", (5, 6)),
    ],
)
async def test_a_part_of_a_blob(
    registry: FakeRegistry,
    mirror: RunningMirror,
    blob: FakeBlob,
    state: State,
    asked: str,
    expected: tuple[int, int],
) -> None:
    first, last = expected
    async with state(registry, mirror):
        response, body = await mirror.get(PATH, headers={"Range": asked})

    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert body == blob.data[first : last + 1]
    assert registry.journal.count("GET") == 1


@STATES
@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 9}", f"bytes={10**17}-", "bytes=-0"])
async def test_a_range_behind_the_end(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, blob: FakeBlob, state: State, asked: str
) -> None:
    async with state(registry, mirror):
        response, body = await mirror.get(PATH, headers={"Range": asked})

    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"
    assert b'"errors"' in body
    assert journal.count("GET") == 1


EMPTY = content.blob(0)
EMPTY_PATH = f"/v2/library/alpine/blobs/{EMPTY.digest}"


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=0-0,5-"])
async def test_an_empty_blob_has_no_first_byte(registry: FakeRegistry, mirror: RunningMirror, asked: str) -> None:
    registry.put_blob("library/alpine", EMPTY)

    for _ in ("cold", "stored"):
        response, _ = await mirror.get(EMPTY_PATH, headers={"Range": asked})
        assert response.status == 416
        assert response.headers["Content-Range"] == "bytes */0"


@pytest.mark.parametrize("asked", ["bytes=-5", "bytes=0-0,-1"])
async def test_the_end_of_an_empty_blob_is_all_of_it(registry: FakeRegistry, mirror: RunningMirror, asked: str) -> None:
    registry.put_blob("library/alpine", EMPTY)

    for _ in ("cold", "stored"):
        response, body = await mirror.get(EMPTY_PATH, headers={"Range": asked})
        assert (response.status, response.headers["Content-Length"], body) == (200, "0", b"")
        assert "Content-Range" not in response.headers


NO_RANGE = (
    "bytes=5-3",
    "bytes=0-1,5-3",
    "bytes=0-1,4",
    "bytes=0-9,5-14",
    "bytes=10-19,0-9",
    "bytes=" + ",".join(f"{start}-{start}" for start in range(0, 2050, 2)),
    "bytes=-",
    "bytes=",
    "bytes",
    "bytes=a-b",
    "bytes=1-2x",
    "bytes=0x10-",
    "bytes=+1-",
    "bytes=\u0661-",
    "lines=1-2",
    "=1-2",
    "",
)


@STATES
async def test_what_is_no_range_or_too_much_of_it_is_ignored(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, blob: FakeBlob, state: State
) -> None:
    async with state(registry, mirror):
        answers = await asyncio.gather(*(mirror.get(PATH, headers={"Range": asked}) for asked in NO_RANGE))

    for asked, (response, body) in zip(NO_RANGE, answers, strict=True):
        assert response.status == 200, asked
        assert "Content-Range" not in response.headers
        assert response.headers["Content-Length"] == str(SIZE)
        assert body == blob.data
    assert journal.count("GET") == 1


@STATES
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (f'"{content.blob(SIZE).digest}"', 206),
        ('"another"', 200),
        (f'W/"{content.blob(SIZE).digest}"', 200),
        (content.blob(SIZE).digest, 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ],
)
async def test_if_range(
    registry: FakeRegistry,
    mirror: RunningMirror,
    blob: FakeBlob,
    state: State,
    condition: str,
    expected: int,
) -> None:
    async with state(registry, mirror):
        response, body = await mirror.get(PATH, headers={"Range": f"bytes={MIB}-", "If-Range": condition})

    assert response.status == expected
    assert body == (blob.data[MIB:] if expected == 206 else blob.data)


async def test_a_condition_or_a_range_that_is_there_twice_is_ignored(mirror: RunningMirror, blob: FakeBlob) -> None:
    tag, part = f'"{blob.digest}"', "bytes=5-9"
    twice = ([("Range", part), ("Range", part)], [("Range", part), ("If-Range", tag), ("If-Range", '"another"')])
    for headers in twice:
        response, body = await mirror.get(PATH, headers=headers)
        assert (response.status, body) == (200, blob.data)


@STATES
async def test_a_range_behind_the_end_of_something_else_is_ignored(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob, state: State
) -> None:
    async with state(registry, mirror):
        response, body = await mirror.get(PATH, headers={"Range": f"bytes={SIZE}-", "If-Range": '"another"'})

    assert (response.status, body) == (200, blob.data)


@STATES
@pytest.mark.parametrize("asked", ["bytes=5-", "bytes=0-1,5-6", f"bytes={SIZE}-"])
async def test_a_head_knows_no_ranges(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob, state: State, asked: str
) -> None:
    async with state(registry, mirror):
        response, body = await mirror.get(PATH, "HEAD", headers={"Range": asked})

    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Length"] == str(blob.size)


async def test_many_ranges_of_a_cold_blob_cost_one_transfer(
    registry: FakeRegistry, journal: Journal, joins: Joins, mirror: RunningMirror, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(PATH, hold(gate))
    starts = range(0, SIZE, 100_000)

    clients = [asyncio.create_task(mirror.get(PATH, headers={"Range": f"bytes={start}-"})) for start in starts]
    await gate.reached()
    await joins.reach(len(starts))
    gate.open()
    answers = await asyncio.gather(*clients)

    for start, (response, body) in zip(starts, answers, strict=True):
        assert response.headers["Content-Range"] == f"bytes {start}-{SIZE - 1}/{SIZE}"
        assert body == blob.data[start:]
    assert [(entry.method, entry.range) for entry in journal.entries] == [("GET", None)]
    assert journal.body_bytes() == SIZE


async def test_the_head_of_a_part_does_not_wait_for_its_bytes(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(MIB, gate))

    async with raw_client(mirror) as client:
        await client.ask(PATH, Range=f"bytes={2 * MIB}-")
        head = await client.head()
        assert (head.status, head.length) == (206, SIZE - 2 * MIB)
        assert head.headers["content-range"] == f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"
        await gate.reached()
        assert await client.nothing_comes()
        gate.open()
        assert await client.exactly(head.length) == blob.data[2 * MIB :]
        await client.ask("/v2/")
        assert (await client.answer()).head.status == 200


async def test_a_part_that_has_arrived_is_sent_while_the_rest_is_missing_but_for_its_end(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(2 * MIB, gate))

    async with raw_client(mirror) as client, raw_client(mirror) as tiny:
        await client.ask(PATH, Range=f"bytes=1000-{MIB - 1}")
        await tiny.ask(PATH, Range="bytes=0-9")
        assert ((await client.head()).length, (await tiny.head()).length) == (MIB - 1000, 10)
        assert await client.exactly(MIB - 1000 - HOLD_BACK) == blob.data[1000 : MIB - HOLD_BACK]
        # A part is complete only when the whole is known to be right.
        assert await client.nothing_comes()
        assert await tiny.nothing_comes()
        gate.open()
        assert await client.exactly(HOLD_BACK) == blob.data[MIB - HOLD_BACK : MIB]
        assert await tiny.exactly(10) == blob.data[:10]


async def test_a_part_of_what_is_held_back_waits_for_the_digest(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(SIZE - 1, gate))

    async with raw_client(mirror) as client:
        await client.ask(PATH, Range=f"bytes={SIZE - HOLD_BACK}-{SIZE - HOLD_BACK}")
        assert (await client.head()).status == 206
        await gate.reached()
        await until_metric(mirror, 'mirror_upstream_bytes_total{upstream="docker.io"}', SIZE - 1)
        assert await client.nothing_comes()
        gate.open()
        assert await client.exactly(1) == blob.data[SIZE - HOLD_BACK :][:1]


@pytest.mark.parametrize("at", [0, SIZE - 1])
async def test_the_tail_of_bad_bytes_is_never_served(
    registry: FakeRegistry, joins: Joins, mirror: RunningMirror, blob: FakeBlob, at: int
) -> None:
    gate = Gate()
    registry.fault(PATH, both(wrong_bytes(at), hold(gate)))

    async def tail() -> bool:
        async with raw_client(mirror) as client:
            await client.ask(PATH, Range="bytes=-100")
            answer = await client.answer()
            return answer.whole and answer.head.status == 206

    clients = [asyncio.create_task(tail()) for _ in range(5)]
    await gate.reached()
    await joins.reach(5)
    gate.open()
    assert not any(await asyncio.gather(*clients))


async def test_clients_that_close_their_ranges_early_start_no_further_transfer(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(2 * MIB, gate))

    for start in range(0, MIB, 100_000):
        async with raw_client(mirror) as client:
            await client.ask(PATH, Range=f"bytes={start}-")
            assert (await client.head()).status == 206
            assert await client.exactly(1000) == blob.data[start : start + 1000]
            client.reset()
    gate.open()
    response, body = await mirror.get(PATH)
    assert (response.status, body) == (200, blob.data)
    assert journal.count("GET") == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_client_resumes_where_it_was_cut_off(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob
) -> None:
    registry.fault(PATH, cut_at(2 * MIB))
    registry.always(PATH, cut_at(0))
    async with raw_client(mirror) as client:
        await client.ask(PATH)
        begun = await client.answer()
    assert not begun.whole
    assert len(begun.body) < SIZE

    registry.heal()
    response, rest = await mirror.get(PATH, headers={"Range": f"bytes={len(begun.body)}-"})
    assert response.status == 206
    assert begun.body + rest == blob.data


async def test_a_range_of_a_blob_whose_length_nobody_tells_is_the_whole(
    registry: FakeRegistry, journal: Journal, joins: Joins, mirror: RunningMirror, blob: FakeBlob
) -> None:
    # A part of something without an end cannot be declared; the whole can always be sent instead.
    gate = Gate()
    registry.always(PATH, both(chunked, stop_at(MIB, gate)), method="GET")
    registry.always(PATH, chunked, method="HEAD")
    ranges = ("bytes=5-", "bytes=5-9", "bytes=-5", "bytes=0-1,5-", f"bytes={SIZE}-")

    clients = [asyncio.create_task(mirror.get(PATH, headers={"Range": asked})) for asked in ranges]
    await joins.reach(len(ranges))
    gate.open()
    for response, body in await asyncio.gather(*clients):
        assert (response.status, body) == (200, blob.data)
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Range" not in response.headers
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    response, body = await mirror.get(PATH, headers={"Range": "bytes=5-"})
    assert (response.status, body) == (206, blob.data[5:])
    assert journal.count("GET") == 1
