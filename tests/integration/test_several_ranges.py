"""Several parts of a blob in one answer: right and in order, or cut; complete only once the whole blob is verified."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import both, chunked, cut_at, hold, stop_at, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.blob_states import BLOB, HOLD_BACK, MIB, PATH, SIZE, STATES, State
from tests.integration.byteranges import Part, boundary_of, parts_of
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.raw_http import RawAnswer, RawClient, raw_client, request
from tests.integration.waiting import until, until_metric

PODMAN = "bytes=81-587,611-890254,890278-894101,894125-896516,896540-1051858,1051882-1057957,1057981-1059594"
"""Captured from Podman 4.3: what it misses of a layer it knows some files of."""

RESUMES = 'mirror_fill_resumes_total{upstream="docker.io"}'


@pytest.fixture(autouse=True)
def blob(registry: FakeRegistry) -> FakeBlob:
    registry.put_blob("library/alpine", BLOB)
    return BLOB


def part(start: int, stop: int) -> Part:
    return Part(start, BLOB.data[start:stop], SIZE)


def asked_for(ranges: str) -> list[Part]:
    """The parts that closed ranges stand for."""
    ends = [one.split("-") for one in ranges.removeprefix("bytes=").split(",")]
    return [part(int(first), int(last) + 1) for first, last in ends]


async def ask(mirror: RunningMirror, ranges: str, version: str = "1.1") -> RawAnswer:
    async with raw_client(mirror) as client:
        await client.ask(PATH, version=version, Range=ranges)
        return await client.answer()


async def begin(client: RawClient, ranges: str) -> bytes:
    """Ask, read the head of the answer and the start of its first part; return the boundary."""
    await client.ask(PATH, Range=ranges)
    head = await client.head()
    assert head.status == 206
    boundary = boundary_of(head.headers)
    assert await client.exactly(len(boundary) + 4) == b"--" + boundary + b"\r\n"
    return boundary


async def read_part(client: RawClient, boundary: bytes, expected: Part) -> None:
    """Read a part up to and with the boundary behind it."""
    first, last = expected.start, expected.start + len(expected.data) - 1
    head = f"Content-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{SIZE}\r\n\r\n".encode()
    assert await client.exactly(len(head)) == head
    assert await client.exactly(len(expected.data)) == expected.data
    assert await client.exactly(len(boundary) + 6) == b"\r\n--" + boundary + b"\r\n"


@STATES
@pytest.mark.parametrize(
    ("ranges", "parts"),
    [
        (PODMAN, asked_for(PODMAN)),
        ("bytes=0-0, -1", [part(0, 1), part(SIZE - 1, SIZE)]),
        (f"bytes=5-9,{MIB}-", [part(5, 10), part(MIB, SIZE)]),
        (f"bytes=0-0,1-1,{MIB - 1}-{MIB}", [part(0, 1), part(1, 2), part(MIB - 1, MIB + 1)]),
        (f"bytes=0-99,{SIZE}-,200-299", [part(0, 100), part(200, 300)]),
        (f"bytes={2 * MIB}-{SIZE - 1},-0,{SIZE}-", None),
    ],
)
async def test_the_parts_of_a_blob(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, state: State, ranges: str, parts: list[Part] | None
) -> None:
    async with state(registry, mirror):
        answer = await ask(mirror, ranges)

    headers = answer.head.headers
    assert (answer.head.status, answer.whole) == (206, True)
    assert headers["docker-content-digest"] == BLOB.digest
    assert headers["etag"] == f'"{BLOB.digest}"'
    if parts is None:
        # What is left of the set is one range: an answer like any other.
        assert headers["content-range"] == f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"
        assert headers["content-type"] == "application/octet-stream"
        assert answer.body == BLOB.data[2 * MIB :]
    else:
        assert parts_of(headers, answer.body) == parts
    assert [(entry.method, entry.range) for entry in journal.entries] == [("GET", None)]


@STATES
async def test_another_reader_of_multipart_finds_the_same_parts(
    registry: FakeRegistry, mirror: RunningMirror, state: State
) -> None:
    found = []
    asking = mirror.session.get(mirror.url + PATH, headers={"Range": PODMAN})
    async with state(registry, mirror), asking as response:
        async for piece in aiohttp.MultipartReader.from_response(response):
            assert isinstance(piece, aiohttp.BodyPartReader)
            found.append((piece.headers["Content-Range"], bytes(await piece.read())))

    parts = asked_for(PODMAN)
    assert found == [(f"bytes {one.start}-{one.start + len(one.data) - 1}/{SIZE}", one.data) for one in parts]


@STATES
async def test_as_many_small_parts_as_podman_asks_for(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, state: State
) -> None:
    ranges = "bytes=" + ",".join(f"{start}-{start + 9}" for start in range(1000, 1000 + 1024 * 3000, 3000))
    async with state(registry, mirror):
        answer = await ask(mirror, ranges)

    assert parts_of(answer.head.headers, answer.body) == asked_for(ranges)
    assert journal.count("GET") == 1


async def test_no_two_answers_have_the_same_boundary(mirror: RunningMirror) -> None:
    # Or the maker of a blob could put it there.
    boundaries = {boundary_of((await ask(mirror, "bytes=0-1,5-6")).head.headers) for _ in range(5)}
    assert len(boundaries) == 5


@STATES
async def test_the_answer_behind_one_of_several_parts_is_the_right_one(
    registry: FakeRegistry, mirror: RunningMirror, state: State
) -> None:
    async with state(registry, mirror), raw_client(mirror) as client:
        await client.send(request(PATH, Range=PODMAN) + request(PATH, Range="bytes=7-9") + request("/v2/"))
        first, second, third = [await client.answer() for _ in range(3)]

    assert parts_of(first.head.headers, first.body) == asked_for(PODMAN)
    assert (second.head.headers["content-range"], second.body) == (f"bytes 7-9/{SIZE}", BLOB.data[7:10])
    assert third.body == b"{}"


@STATES
async def test_parts_for_a_client_of_1996(registry: FakeRegistry, mirror: RunningMirror, state: State) -> None:
    async with state(registry, mirror):
        answer = await ask(mirror, PODMAN, version="1.0")

    assert answer.head.status == 206
    assert parts_of(answer.head.headers, answer.body) == asked_for(PODMAN)


async def test_parts_without_chunks_of_a_blob_whose_length_nobody_tells(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    # A client of HTTP/1.0 waits for the end, and then the length is known.
    registry.always(PATH, chunked)
    answer = await ask(mirror, "bytes=0-9,-5", version="1.0")

    assert parts_of(answer.head.headers, answer.body) == [part(0, 10), part(SIZE - 5, SIZE)]
    assert journal.count("GET") == 1


@STATES
@pytest.mark.parametrize("condition", ['"another"', f'W/"{BLOB.digest}"', "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_several_ranges_of_something_else_are_the_whole(
    registry: FakeRegistry, mirror: RunningMirror, state: State, condition: str
) -> None:
    async with state(registry, mirror):
        response, body = await mirror.get(PATH, headers={"Range": PODMAN, "If-Range": condition})

    assert (response.status, body) == (200, BLOB.data)
    assert response.headers["Content-Type"] == "application/octet-stream"


async def test_parts_go_out_in_order_as_they_arrive_and_the_end_once_all_is_verified(
    registry: FakeRegistry, mirror: RunningMirror
) -> None:
    early, late = Gate(), Gate()
    registry.fault(PATH, both(stop_at(MIB, early), stop_at(SIZE - 1, late)))

    async with raw_client(mirror) as client:
        boundary = await begin(client, f"bytes=10-99,1000-{MIB // 2 - 1},{2 * MIB}-{2 * MIB + 2 * HOLD_BACK - 1}")
        await read_part(client, boundary, part(10, 100))
        await read_part(client, boundary, part(1000, MIB // 2))
        head = b"Content-Type: application/octet-stream\r\nContent-Range: bytes "
        assert (await client.exactly(len(head))) == head
        await client.exactly(len(f"{2 * MIB}-{2 * MIB + 2 * HOLD_BACK - 1}/{SIZE}\r\n\r\n"))
        # The third is ahead of what has come.
        assert await client.nothing_comes()
        early.open()
        # The end of the answer is its last 64 KiB, the closing boundary among them.
        closing = b"\r\n--" + boundary + b"--\r\n"
        free = 2 * HOLD_BACK - (HOLD_BACK - len(closing))
        assert await client.exactly(free) == BLOB.data[2 * MIB :][:free]
        await late.reached()
        assert await client.nothing_comes()
        late.open()
        assert await client.exactly(2 * HOLD_BACK - free) == BLOB.data[2 * MIB :][free : 2 * HOLD_BACK]
        assert await client.exactly(len(closing)) == closing
        await client.ask("/v2/")
        assert (await client.answer()).body == b"{}"


async def test_no_byte_of_a_small_answer_goes_out_before_all_is_verified(
    registry: FakeRegistry, mirror: RunningMirror
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(SIZE - 1, gate))

    async with raw_client(mirror) as client:
        await client.ask(PATH, Range="bytes=0-9,20-29,5000-5099")
        head = await client.head()
        await gate.reached()
        assert await client.nothing_comes()
        gate.open()
        body = await client.exactly(head.length)
    assert parts_of(head.headers, body) == [part(0, 10), part(20, 30), part(5000, 5100)]


@pytest.mark.parametrize("ranges", ["bytes=0-9,20-29", PODMAN, f"bytes=0-9,{MIB}-", "bytes=0-1048575,-1"])
@pytest.mark.parametrize("at", [15, SIZE - 1])
async def test_parts_of_bad_bytes_are_never_complete(
    registry: FakeRegistry, joins: Joins, mirror: RunningMirror, ranges: str, at: int
) -> None:
    gate = Gate()
    registry.fault(PATH, both(wrong_bytes(at), hold(gate)))

    async with raw_client(mirror) as client:
        await client.send(request(PATH, Range=ranges) + request("/v2/"))
        await joins.reach(1)
        gate.open()
        answer = await client.answer()
    assert (answer.head.status, answer.whole) == (206, False)
    assert boundary_of(answer.head.headers) + b"--" not in answer.body
    assert b"HTTP/1.1" not in answer.body
    assert answer.head.length - len(answer.body) >= min(HOLD_BACK, answer.head.length)


@pytest.mark.usefixtures("quick_retries")
async def test_a_cut_of_upstream_is_a_pause_between_parts(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    registry.fault(PATH, cut_at(MIB // 2))
    registry.fault(PATH, cut_at(MIB))
    ranges = f"bytes=10-99,{MIB // 2 - 5}-{MIB // 2 + 5},{2 * MIB}-{2 * MIB + 9}"
    answer = await ask(mirror, ranges)

    assert parts_of(answer.head.headers, answer.body) == asked_for(ranges)
    assert await mirror.metric(RESUMES) == 2
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert journal.count("GET") == 3


@pytest.mark.usefixtures("quick_retries")
async def test_parts_that_will_not_come_are_cut(registry: FakeRegistry, mirror: RunningMirror) -> None:
    registry.fault(PATH, cut_at(MIB))
    registry.always(PATH, cut_at(0))
    async with raw_client(mirror) as client:
        await client.send(request(PATH, Range=f"bytes=0-{MIB // 2 - 1},{2 * MIB}-{2 * MIB + 9}") + request("/v2/"))
        head = await client.head()
        boundary = boundary_of(head.headers)
        received = await client.rest()
    # All that had come, and nothing of the answer behind it.
    assert len(received) < head.length
    assert BLOB.data[: MIB // 2 - HOLD_BACK] in received
    assert boundary + b"--" not in received


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_clients_that_leave_within_a_part_or_between_parts_leave_nothing_behind(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    gate = Gate()
    registry.fault(PATH, stop_at(MIB, gate))
    far = f"bytes=0-{MIB // 2 - 1},{2 * MIB}-{SIZE - 2}"
    leave = [(far, 0), (far, 1000), (far, MIB // 2 + 200), ("bytes=0-9,20-29", 0)]

    async with raw_client(mirror) as stays:
        boundary = await begin(stays, f"bytes=0-9,{2 * MIB}-")
        await read_part(stays, boundary, part(0, 10))
        await gate.reached()
        await mirror.get("/v2/")
        before, tasks = open_descriptors(), len(asyncio.all_tasks())
        for ranges, read in leave:
            async with raw_client(mirror) as client:
                await client.ask(PATH, Range=ranges)
                assert (await client.head()).status == 206
                assert len(await client.exactly(read)) == read
                client.reset()
            # No byte comes from upstream meanwhile.
            await until(lambda: open_descriptors() <= before, "all descriptors are closed")
            await until(lambda: len(asyncio.all_tasks()) <= tasks, "all tasks have ended")
        gate.open()
        last = f"Content-Type: application/octet-stream\r\nContent-Range: bytes {2 * MIB}-{SIZE - 1}/{SIZE}\r\n\r\n"
        end = b"\r\n--" + boundary + b"--\r\n"
        expected = last.encode() + BLOB.data[2 * MIB :] + end
        assert await stays.exactly(len(expected)) == expected
    assert journal.count("GET") == 1


async def test_a_file_that_shrinks_between_two_parts_cuts_the_connection(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    # More than the sockets between the two take.
    large = content.blob(24 * MIB, seed="large")
    registry.put_blob("library/alpine", large)
    path = f"/v2/library/alpine/blobs/{large.digest}"
    await mirror.get(path)
    await until(lambda: cache_folder.digests() == {large.digest}, "the blob is committed")
    async with raw_client(mirror, receive_buffer=4096) as client:
        await client.send(request(path, Range=f"bytes=0-{23 * MIB},{large.size - 9}-") + request("/v2/"))
        head = await client.head()
        await client.exactly(1)
        file = cache_folder.file(large.digest)
        file.chmod(0o644)
        os.truncate(file, large.size - 5)
        received = await client.rest()
    assert len(received) < head.length - 1
    await until(lambda: cache_folder.digests() == set(), "the file is gone")


# Blobs that cannot be kept. ------------------------------------------------------------------------------


@pytest.fixture
async def small(start_mirror: StartMirror) -> AsyncIterator[RunningMirror]:
    """A mirror whose cache has no room for the blob."""
    async with start_mirror(cache={"max_size": "1MiB"}) as mirror:
        yield mirror


async def test_parts_of_a_blob_that_passes_through_memory(
    registry: FakeRegistry, journal: Journal, small: RunningMirror
) -> None:
    answer = await ask(small, f"{PODMAN},{2 * MIB}-{2 * MIB + 9},-1")

    parts = [*asked_for(PODMAN), part(2 * MIB, 2 * MIB + 10), part(SIZE - 1, SIZE)]
    assert parts_of(answer.head.headers, answer.body) == parts
    assert "stored" not in answer.head.headers["cache-status"]
    assert journal.count("GET") == 1


async def test_parts_of_bad_bytes_on_their_way_through_memory_are_cut(
    registry: FakeRegistry, small: RunningMirror
) -> None:
    registry.fault(PATH, wrong_bytes(SIZE - 1))
    answer = await ask(small, PODMAN)
    assert (answer.head.status, answer.whole) == (206, False)


# What clients send. --------------------------------------------------------------------------------------

CONTAINERD = {
    "User-Agent": "containerd/2.1.0",
    "Accept": "application/vnd.oci.image.layer.v1.tar+gzip, */*",
    "Accept-Encoding": "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5",
}


@STATES
async def test_containerd_2_fetching_a_layer_in_parallel_gets_it_by_one_transfer(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, state: State
) -> None:
    """Replayed from its source (core/remotes/docker/fetcher.go): Debian has 1.6, which does no such thing.

    It asks for `bytes=0-`, takes Content-Length for what there is, and fetches that in chunks, the first from this very
    answer, the others by requests for `bytes=N-`, so many at a time; each is closed as soon as its chunk is there. An
    encoded body it would decode.
    """
    chunk = 300_000
    slots = asyncio.Semaphore(3)

    async def fetch(offset: int) -> bytes:
        async with slots, raw_client(mirror) as client:
            await client.ask(f"{PATH}?ns=docker.io", **CONTAINERD, Range=f"bytes={offset}-")
            head = await client.head()
            assert (head.status, head.length) == (206, SIZE - offset)
            assert head.headers["content-range"] == f"bytes {offset}-{SIZE - 1}/{SIZE}"
            assert "content-encoding" not in head.headers
            data = await client.exactly(min(chunk, SIZE - offset))
            client.reset()
            return data

    async with state(registry, mirror):
        chunks = await asyncio.gather(*map(fetch, range(0, SIZE, chunk)))

    assert b"".join(chunks) == BLOB.data
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert [(entry.method, entry.range) for entry in journal.entries] == [("GET", None)]
    assert journal.body_bytes() == SIZE
