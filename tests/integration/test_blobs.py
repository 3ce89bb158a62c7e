"""Blobs: cold, warm and joined; every size that is an edge of something; with and without a declared length."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import both, chunked, hold, short_body, status, stop_at, until_close, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.paths import path_of
from tests.integration.raw_http import Cut, raw_client, request
from tests.integration.waiting import until, until_metric

KIB = 1024
MIB = 1024 * KIB
HOLD_BACK = 64 * KIB
REPOSITORY = "library/alpine"

EDGES = [0, 1, HOLD_BACK - 1, HOLD_BACK, HOLD_BACK + 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17]


def put(registry: FakeRegistry, size: int, algorithm: str = "sha256") -> FakeBlob:
    blob = content.blob(size, f"blob of {size}", algorithm)
    registry.put_blob(REPOSITORY, blob)
    return blob


# Cold, warm, joined. -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", EDGES)
async def test_a_blob_of_any_size_is_fetched_once_and_kept(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder, size: int
) -> None:
    blob = put(registry, size)

    for status_of_cache in ("mirror; fwd=miss; stored", "mirror; hit"):
        response, body = await mirror.get(path_of(blob))
        assert response.status == 200
        assert body == blob.data
        assert response.headers["Content-Length"] == str(size)
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Docker-Content-Digest"] == blob.digest
        assert response.headers["ETag"] == f'"{blob.digest}"'
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["Cache-Status"] == status_of_cache
        assert "Transfer-Encoding" not in response.headers
        # The client has its last byte before the file has its name.
        await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")

    assert journal.paths() == [f"GET {path_of(blob)}"]
    assert journal.entries[0].range is None
    assert journal.body_bytes() == size
    assert cache_folder.file(blob.digest).read_bytes() == blob.data
    assert cache_folder.mode(blob.digest) == 0o444
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")


@pytest.mark.parametrize("size", EDGES)
async def test_a_blob_of_any_size_whose_length_nobody_tells(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, size: int
) -> None:
    blob = put(registry, size)
    registry.always(path_of(blob), chunked)

    response, body = await mirror.get(path_of(blob))
    assert (response.status, body) == (200, blob.data)
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert journal.count("GET") == 1
    journal.clear()

    response, body = await mirror.get(path_of(blob))
    assert (response.status, body) == (200, blob.data)
    assert response.headers["Content-Length"] == str(size)
    assert response.headers["Cache-Status"] == "mirror; hit"
    assert not journal.entries


@pytest.mark.parametrize("size", [0, 5, 2 * MIB])
async def test_a_sha512_blob(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder, size: int
) -> None:
    blob = put(registry, size, "sha512")

    for expected in ("mirror; fwd=miss; stored", "mirror; hit"):
        response, body = await mirror.get(path_of(blob))
        assert (response.status, body) == (200, blob.data)
        assert response.headers["Docker-Content-Digest"] == blob.digest
        assert response.headers["Cache-Status"] == expected
        await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")
    assert journal.paths() == [f"GET {path_of(blob)}"]


async def test_wrong_bytes_for_a_sha512_digest(
    registry: FakeRegistry, mirror: RunningMirror, cache_folder: CacheFolder
) -> None:
    blob = put(registry, 5000, "sha512")
    registry.always(path_of(blob), wrong_bytes())

    response, _ = await mirror.get(path_of(blob))
    assert response.status == 502
    assert cache_folder.digests() == set()


async def test_clients_that_come_together_share_one_transfer(
    registry: FakeRegistry, journal: Journal, joins: Joins, mirror: RunningMirror
) -> None:
    blob = put(registry, 3 * MIB)
    gate = Gate()
    registry.fault(path_of(blob), hold(gate))

    clients = [asyncio.create_task(mirror.get(path_of(blob))) for _ in range(20)]
    await gate.reached()
    await joins.reach(20)
    gate.open()
    answers = await asyncio.gather(*clients)

    assert all(body == blob.data for _, body in answers)
    statuses = sorted(response.headers["Cache-Status"] for response, _ in answers)
    assert statuses == ["mirror; fwd=miss; collapsed; stored"] * 19 + ["mirror; fwd=miss; stored"]
    assert journal.paths() == [f"GET {path_of(blob)}"]
    assert journal.body_bytes() == blob.size
    assert await mirror.metric('mirror_upstream_bytes_total{upstream="docker.io"}') == blob.size


async def test_different_blobs_are_filled_side_by_side(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    blobs = [content.blob(2 * MIB, number) for number in range(8)]
    gates = [Gate() for _ in blobs]
    for blob, gate in zip(blobs, gates, strict=True):
        registry.put_blob(REPOSITORY, blob)
        registry.fault(path_of(blob), stop_at(MIB, gate))

    clients = [asyncio.create_task(mirror.get(path_of(blob))) for blob in blobs]
    for gate in gates:
        await gate.reached()
    await until_metric(mirror, "mirror_fills_in_flight", len(blobs))
    for gate in reversed(gates):
        gate.open()
    bodies = [body for _, body in await asyncio.gather(*clients)]

    assert bodies == [blob.data for blob in blobs]
    assert journal.count("GET") == len(blobs)
    await until_metric(mirror, "mirror_fills_in_flight", 0)


async def test_the_metrics_of_a_cold_and_a_warm_blob(registry: FakeRegistry, mirror: RunningMirror) -> None:
    blob = put(registry, 2 * MIB)
    await mirror.get(path_of(blob))
    await until_metric(mirror, 'mirror_cache_objects{kind="blob"}', 1)
    await mirror.get(path_of(blob))

    for outcome in ("miss", "hit"):
        series = f'mirror_requests_total{{kind="blob",outcome="{outcome}",upstream="docker.io"}}'
        await until_metric(mirror, series, 1)
    for source in ("upstream", "cache"):
        series = f'mirror_response_bytes_total{{source="{source}",upstream="docker.io"}}'
        assert await mirror.metric(series) == blob.size
    series = 'mirror_upstream_requests_total{kind="blob",status="200",upstream="docker.io"}'
    assert await mirror.metric(series) == 1
    assert await mirror.metric('mirror_upstream_bytes_total{upstream="docker.io"}') == blob.size
    assert await mirror.metric("mirror_cache_bytes") == blob.size


async def test_bytes_come_as_they_are_whatever_coding_a_client_takes(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    # containerd asks so, and decodes what says that it is encoded.
    blob = put(registry, 5000)
    for _ in ("cold", "warm"):
        response, body = await mirror.get(path_of(blob), headers={"Accept-Encoding": "zstd, gzip, deflate"})
        assert (response.status, body) == (200, blob.data)
        assert "Content-Encoding" not in response.headers
        assert "Vary" not in response.headers
        await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert [entry.header("Accept-Encoding") for entry in journal.entries] == ["identity"]


# HEAD. ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MIB, 2 * MIB])
async def test_head_of_a_cold_blob_fetches_nothing(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder, size: int
) -> None:
    blob = put(registry, size)

    response, body = await mirror.get(path_of(blob), "HEAD")

    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Length"] == str(size)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Docker-Content-Digest"] == blob.digest
    assert response.headers["ETag"] == f'"{blob.digest}"'
    assert response.headers["Cache-Status"] == "mirror; fwd=miss"
    assert journal.paths() == [f"HEAD {path_of(blob)}"]
    assert cache_folder.digests() == set()
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")


async def test_head_and_get_tell_the_same(registry: FakeRegistry, mirror: RunningMirror) -> None:
    blob = put(registry, 2 * MIB)
    cold_head, _ = await mirror.get(path_of(blob), "HEAD")
    cold_get, _ = await mirror.get(path_of(blob))
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    warm_head, _ = await mirror.get(path_of(blob), "HEAD")
    warm_get, _ = await mirror.get(path_of(blob))

    changing = {"Date", "Cache-Status"}
    heads = [
        {name: value for name, value in response.headers.items() if name not in changing}
        for response in (cold_head, cold_get, warm_head, warm_get)
    ]
    assert heads == [heads[0]] * 4


async def test_head_of_a_warm_blob_asks_nobody(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder
) -> None:
    blob = put(registry, 2 * MIB)
    await mirror.get(path_of(blob))
    await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")
    journal.clear()

    response, body = await mirror.get(path_of(blob), "HEAD")

    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Length"] == str(blob.size)
    assert response.headers["Cache-Status"] == "mirror; hit"
    assert not journal.entries


async def test_head_of_a_growing_blob_waits_for_nothing_and_asks_nobody(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    blob = put(registry, 3 * MIB)
    gate = Gate()
    registry.fault(path_of(blob), stop_at(MIB, gate))
    reader = asyncio.create_task(mirror.get(path_of(blob)))
    await gate.reached()

    response, body = await mirror.get(path_of(blob), "HEAD")

    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Length"] == str(blob.size)
    assert response.headers["Docker-Content-Digest"] == blob.digest
    assert response.headers["Cache-Status"] == "mirror; fwd=miss; collapsed"
    assert journal.paths() == [f"GET {path_of(blob)}"]
    gate.open()
    assert (await reader)[1] == blob.data


async def test_head_of_a_blob_whose_length_upstream_does_not_tell(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    blob = put(registry, 5000)
    registry.always(path_of(blob), chunked)

    async with raw_client(mirror) as client:
        await client.ask(path_of(blob), "HEAD")
        head = await client.head()
        # A length of 0 would be a lie; and whatever stands in the head, no byte of a body follows it.
        assert (head.status, head.headers.get("content-length")) == (200, None)
        await client.ask("/v2/")
        following = await client.answer()
    assert (following.head.status, following.body) == (200, b"{}")
    assert journal.paths() == [f"HEAD {path_of(blob)}"]


async def test_head_of_a_growing_blob_of_unknown_length(registry: FakeRegistry, mirror: RunningMirror) -> None:
    blob = put(registry, 3 * MIB)
    gate = Gate()
    registry.fault(path_of(blob), both(chunked, stop_at(MIB, gate)), method="GET")
    registry.always(path_of(blob), chunked, method="HEAD")
    reader = asyncio.create_task(mirror.get(path_of(blob)))
    await gate.reached()

    async with raw_client(mirror) as client:
        await client.ask(path_of(blob), "HEAD")
        head = await client.head()
        assert (head.status, head.headers.get("content-length")) == (200, None)
    gate.open()
    assert (await reader)[1] == blob.data


def asked(method: str, answered: int) -> list[str]:
    """How a blob is asked for that is answered so: the 404 to a HEAD has to be confirmed, for Harbor's sake."""
    return [method, "GET"] if (method, answered) == ("HEAD", 404) else [method]


@pytest.mark.parametrize(("answered", "expected"), [(404, 404), (403, 403), (500, 502), (429, 503)])
async def test_head_of_a_blob_that_upstream_does_not_give(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, answered: int, expected: int
) -> None:
    blob = put(registry, 5000)
    registry.always(path_of(blob), status(answered))

    response, body = await mirror.get(path_of(blob), "HEAD")

    assert (response.status, body) == (expected, b"")
    assert journal.paths() == [f"{method} {path_of(blob)}" for method in asked("HEAD", answered)]


@pytest.mark.parametrize("first", ["GET", "HEAD"])
@pytest.mark.parametrize(("answered", "expected"), [(404, 404), (403, 403)])
async def test_a_blob_that_is_not_to_be_had_is_asked_for_once(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, first: str, answered: int, expected: int
) -> None:
    blob = put(registry, 5000)
    registry.always(path_of(blob), status(answered))
    methods = [first, *["GET", "HEAD"] * 4, "GET"]

    answers = [await mirror.get(path_of(blob), method) for method in methods]

    assert [response.status for response, _ in answers] == [expected] * 10
    assert journal.paths() == [f"{method} {path_of(blob)}" for method in asked(first, answered)]
    assert "fwd=miss" in answers[0][0].headers["Cache-Status"]
    assert {response.headers["Cache-Status"].split("; ")[1] for response, _ in answers[1:]} == {"hit"}
    # Another repository is another question.
    registry.put_blob("team/b", blob)
    assert (await mirror.get(path_of(blob, "team/b")))[1] == blob.data


async def test_a_blob_that_appears_is_seen_after_the_negative_ttl(
    registry: FakeRegistry, start_mirror: StartMirror
) -> None:
    blob = content.blob(5000)
    registry.absent(path_of(blob))
    async with start_mirror(freshness={"negative_ttl": "0s"}) as mirror:
        for method in ("GET", "HEAD"):
            assert (await mirror.get(path_of(blob), method))[0].status == 404
        registry.put_blob(REPOSITORY, blob)
        assert (await mirror.get(path_of(blob), "HEAD"))[0].status == 200
        assert (await mirror.get(path_of(blob)))[1] == blob.data


async def test_cold_heads_that_come_together_share_one_request(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    blob = put(registry, 5000)
    gate = Gate()
    registry.always(path_of(blob), hold(gate), method="HEAD")
    clients = [asyncio.create_task(mirror.get(path_of(blob), "HEAD")) for _ in range(20)]
    await gate.reached()
    # A client that leaves, be it the one who caused the request, takes nothing from the others.
    clients[0].cancel()
    await asyncio.wait([clients[0]])
    await asyncio.sleep(0.1)
    gate.open()
    answers = await asyncio.gather(*clients[1:])

    assert {(response.status, response.headers["Content-Length"]) for response, _ in answers} == {(200, "5000")}
    assert journal.paths() == [f"HEAD {path_of(blob)}"]


# Length from elsewhere, or from nowhere. -------------------------------------------------------------------


async def test_the_length_comes_from_a_head_if_the_transfer_does_not_tell(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    blob = put(registry, 3 * MIB)
    registry.always(path_of(blob), chunked, method="GET")

    response, body = await mirror.get(path_of(blob))

    assert (response.status, body) == (200, blob.data)
    assert response.headers["Content-Length"] == str(blob.size)
    assert "Transfer-Encoding" not in response.headers
    assert journal.paths() == [f"GET {path_of(blob)}", f"HEAD {path_of(blob)}"]


@pytest.mark.parametrize("framing", [chunked, until_close])
async def test_without_any_length_the_body_streams_in_chunks(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, framing: object
) -> None:
    assert callable(framing)
    blob = put(registry, 3 * MIB)
    gate = Gate()
    registry.always(path_of(blob), both(framing, stop_at(2 * MIB, gate)), method="GET")
    registry.always(path_of(blob), chunked, method="HEAD")

    async with mirror.session.get(mirror.url + path_of(blob)) as response:
        assert response.status == 200
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in response.headers
        begun = await response.content.readexactly(2 * MIB - HOLD_BACK)
        gate.open()
        body = begun + await response.read()

    assert body == blob.data
    assert journal.count("GET") == 1


@pytest.mark.parametrize("framing", [chunked, until_close])
@pytest.mark.parametrize("size", [5000, HOLD_BACK, MIB, 3 * MIB])
async def test_wrong_bytes_without_any_length_never_end_in_order(
    registry: FakeRegistry, mirror: RunningMirror, cache_folder: CacheFolder, framing: object, size: int
) -> None:
    assert callable(framing)
    blob = put(registry, size)
    registry.always(path_of(blob), both(framing, wrong_bytes(size - 1)), method="GET")
    registry.always(path_of(blob), chunked, method="HEAD")

    async with raw_client(mirror) as client:
        await client.ask(path_of(blob))
        await client.send(request("/v2/"))
        answer = await client.answer()
        if answer.head.status == 200:
            assert not answer.whole
            assert len(answer.body) <= max(0, size - HOLD_BACK)
            assert blob.data.startswith(answer.body)
        else:
            assert (answer.head.status, answer.whole) == (502, True)
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert cache_folder.digests() == set()
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")


async def test_a_transfer_without_length_that_ends_early_is_not_taken_for_the_whole(
    registry: FakeRegistry, mirror: RunningMirror, cache_folder: CacheFolder
) -> None:
    blob = put(registry, 3 * MIB)
    registry.fault(path_of(blob), both(until_close, short_body(2 * MIB)), method="GET")
    registry.always(path_of(blob), chunked, method="HEAD")

    async with raw_client(mirror) as client:
        await client.ask(path_of(blob))
        assert (await client.head()).headers["transfer-encoding"] == "chunked"
        with pytest.raises(Cut) as cut:
            await client.chunked()
    assert blob.data.startswith(cut.value.received)
    assert len(cut.value.received) <= 2 * MIB - HOLD_BACK
    assert cache_folder.digests() == set()


# HTTP/1.0, keep-alive, pipelining. -------------------------------------------------------------------------


async def test_an_http_1_0_client(registry: FakeRegistry, mirror: RunningMirror) -> None:
    blob = put(registry, 3 * MIB)

    for _ in ("cold", "warm"):
        async with raw_client(mirror) as client:
            await client.ask(path_of(blob), version="1.0")
            answer = await client.answer()
            assert (answer.head.status, answer.head.length) == (200, blob.size)
            assert (answer.body, answer.whole) == (blob.data, True)
            assert await client.ended()
        await until_metric(mirror, "mirror_fills_in_flight", 0)


async def test_an_http_1_0_client_gets_a_length_even_if_nobody_told_it(
    registry: FakeRegistry, mirror: RunningMirror
) -> None:
    blob = put(registry, 3 * MIB)
    registry.always(path_of(blob), chunked)

    async with raw_client(mirror) as client:
        await client.ask(path_of(blob), version="1.0")
        answer = await client.answer()
        assert "transfer-encoding" not in answer.head.headers
        assert (answer.head.status, answer.head.length) == (200, blob.size)
        assert (answer.body, answer.whole) == (blob.data, True)
        assert await client.ended()


async def test_an_http_1_0_client_of_wrong_bytes_whose_length_nobody_told(
    registry: FakeRegistry, mirror: RunningMirror
) -> None:
    blob = put(registry, 3 * MIB)
    registry.always(path_of(blob), both(chunked, wrong_bytes()))

    async with raw_client(mirror) as client:
        await client.ask(path_of(blob), version="1.0")
        answer = await client.answer()
    assert (answer.head.status, answer.whole) == (502, True)
    assert b'"UNAVAILABLE"' in answer.body


async def test_one_connection_serves_blob_after_blob(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    blobs = [put(registry, size) for size in EDGES]

    async with raw_client(mirror) as client:
        for method in ("HEAD", "GET", "GET", "HEAD"):
            for blob in blobs:
                await client.ask(path_of(blob), method)
                answer = await client.answer(method)
                assert (answer.head.status, answer.head.length) == (200, blob.size)
                assert answer.body == (blob.data if method == "GET" else b"")
        assert await client.nothing_comes()
    assert journal.count("GET") == len(blobs)


async def test_pipelined_requests_are_answered_one_after_the_other(
    registry: FakeRegistry, mirror: RunningMirror
) -> None:
    blobs = [put(registry, size) for size in EDGES]
    missing = content.blob(1, "nowhere")
    registry.absent(path_of(missing))
    requests = b"".join(
        request(path_of(blob)) + request(path_of(missing)) + request(path_of(blob), "HEAD") + request("/v2/")
        for blob in blobs
    )

    for _ in ("cold", "warm"):
        async with raw_client(mirror) as client:
            await client.send(requests)
            for blob in blobs:
                answer = await client.answer()
                assert (answer.head.status, answer.body) == (200, blob.data)
                assert (await client.answer()).head.status == 404
                assert (await client.answer("HEAD")).head.length == blob.size
                assert (await client.answer()).body == b"{}"
            assert await client.nothing_comes()


async def test_pipelined_requests_behind_a_blob_that_is_cut_get_nothing(
    registry: FakeRegistry, mirror: RunningMirror
) -> None:
    blob, other = put(registry, 3 * MIB), put(registry, 5000)
    registry.fault(path_of(blob), wrong_bytes(blob.size - 1))

    async with raw_client(mirror) as client:
        await client.send(request(path_of(blob)) + request(path_of(other)) + request("/v2/"))
        answer = await client.answer()
    assert (answer.head.status, answer.head.length, answer.whole) == (200, blob.size, False)
    assert answer.body == blob.data[: len(answer.body)]
    assert len(answer.body) <= blob.size - HOLD_BACK


async def test_a_request_that_comes_while_its_predecessor_streams_waits_for_it(
    registry: FakeRegistry, mirror: RunningMirror
) -> None:
    blob, other = put(registry, 3 * MIB), put(registry, 5000)
    await mirror.get(path_of(other))
    gate = Gate()
    registry.fault(path_of(blob), stop_at(2 * MIB, gate))

    async with raw_client(mirror) as client:
        await client.ask(path_of(blob))
        assert (await client.head()).length == blob.size
        assert await client.exactly(2 * MIB) == blob.data[: 2 * MIB]
        await client.ask(path_of(other))
        assert await client.nothing_comes()
        gate.open()
        assert await client.exactly(MIB) == blob.data[2 * MIB :]
        answer = await client.answer()
        assert (answer.head.status, answer.body) == (200, other.data)
