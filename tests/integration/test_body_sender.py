"""The body sender against clients and disks that misbehave: exact bytes, or a cut connection, and nothing leaks."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import chunked, hold, stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.raw_http import RawClient, raw_client, request
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
SIZE = 32 * MIB
"""More than a kernel keeps in the buffers of a connection that nobody reads."""

TINY = 4096
CUT = 'mirror_requests_total{kind="blob",outcome="hit",upstream="docker.io"}'
"""Counts a request once it has ended."""


@pytest.fixture
def blob(registry: FakeRegistry) -> FakeBlob:
    blob = content.blob(SIZE)
    registry.put_blob("library/alpine", blob)
    return blob


@pytest.fixture
def path(blob: FakeBlob) -> str:
    return f"/v2/library/alpine/blobs/{blob.digest}"


@pytest.fixture
async def stored(mirror: RunningMirror, path: str, cache_folder: CacheFolder, blob: FakeBlob) -> None:
    """The blob is in the cache before the test begins."""
    await mirror.get(path)
    await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")
    await until_metric(mirror, "mirror_fills_in_flight", 0)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def warm_up(registry: FakeRegistry, mirror: RunningMirror) -> None:
    """Open what stays open: tables, two connections to upstream, others to the mirror and to its metrics."""
    gates = [Gate(), Gate()]
    pulls = []
    for number, gate in enumerate(gates):
        other = content.blob(5, f"warm-up {number}")
        registry.put_blob("library/alpine", other)
        registry.fault(f"/v2/library/alpine/blobs/{other.digest}", hold(gate))
        pulls.append(asyncio.create_task(mirror.get(f"/v2/library/alpine/blobs/{other.digest}")))
    for gate in gates:
        await gate.reached()
    for gate in gates:
        gate.open()
    await asyncio.gather(*pulls)
    await until_metric(mirror, "mirror_fills_in_flight", 0)


async def begin(client: RawClient, path: str, size: int = SIZE) -> None:
    """Ask for the blob and read the head, so that its body is on its way."""
    await client.ask(path)
    head = await client.head()
    assert (head.status, head.length) == (200, size)


@pytest.mark.usefixtures("stored")
async def test_clients_that_read_nothing_stop_nobody(mirror: RunningMirror, path: str, blob: FakeBlob) -> None:
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(raw_client(mirror, TINY)) for _ in range(20)]
        for client in idle:
            await begin(client, path)
        readers = [asyncio.create_task(mirror.get(path)) for _ in range(5)]
        assert all(body == blob.data for _, body in await asyncio.gather(*readers))
        # They are still served when they begin to read.
        for client in idle[:2]:
            assert await client.exactly(SIZE) == blob.data
            await client.ask("/v2/")
            assert (await client.answer()).body == b"{}"


@pytest.mark.usefixtures("stored")
async def test_a_client_that_reads_in_small_bites(mirror: RunningMirror, path: str, blob: FakeBlob) -> None:
    async with raw_client(mirror, TINY) as client:
        await client.send(request(path, Range=f"bytes={SIZE - 2 * MIB}-") + request(path, "HEAD"))
        assert (await client.head()).length == 2 * MIB
        for start in range(SIZE - 2 * MIB, SIZE, 9973):
            size = min(9973, SIZE - start)
            assert await client.exactly(size) == blob.data[start : start + size]
        assert (await client.answer("HEAD")).head.length == SIZE


@pytest.mark.usefixtures("stored")
async def test_clients_that_reset_within_a_body_leave_nothing_behind(
    mirror: RunningMirror, path: str, blob: FakeBlob
) -> None:
    before = open_descriptors()
    with capture_logs() as logs:
        for read in (0, 1, MIB, 5 * MIB):
            async with raw_client(mirror, TINY) as client:
                await begin(client, path)
                assert await client.exactly(read) == blob.data[:read]
                client.reset()
        async with raw_client(mirror) as client:
            await client.ask(path)
            client.reset()
        await until(lambda: open_descriptors() <= before, "all descriptors are closed")

    assert [line for line in logs if line["log_level"] in {"error", "critical"}] == []
    assert (await mirror.get(path))[1] == blob.data


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_clients_that_reset_while_a_blob_grows_leave_nothing_behind(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, path: str, blob: FakeBlob, framing: str
) -> None:
    gate = Gate()
    if framing == "chunks":
        registry.always(path, chunked, stop_at(2 * MIB, gate), method="GET")
        registry.always(path, chunked, method="HEAD")
    else:
        registry.always(path, stop_at(2 * MIB, gate))
    await warm_up(registry, mirror)
    before = open_descriptors()

    with capture_logs() as logs:
        for _ in range(5):
            async with raw_client(mirror) as client:
                await client.ask(path)
                assert (await client.head()).status == 200
                assert len(await client.exactly(MIB)) == MIB
                client.reset()
        gate.open()
        await until_metric(mirror, 'mirror_cache_objects{kind="blob"}', 3)
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        await until(lambda: open_descriptors() <= before, "all descriptors are closed")

    assert [line for line in logs if line["log_level"] in {"error", "critical"}] == []
    assert journal.count("GET", path) == 1
    assert (await mirror.get(path))[1] == blob.data


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_clients_that_leave_while_upstream_stands_still_are_let_go(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, path: str, blob: FakeBlob, framing: str
) -> None:
    gate = Gate()
    if framing == "chunks":
        registry.always(path, chunked, stop_at(2 * MIB, gate), method="GET")
        registry.always(path, chunked, method="HEAD")
    else:
        registry.always(path, stop_at(2 * MIB, gate))
    await warm_up(registry, mirror)

    async with raw_client(mirror) as stays:
        await stays.ask(path)
        assert (await stays.head()).status == 200
        await gate.reached()
        before, tasks = open_descriptors(), len(asyncio.all_tasks())
        for how in ("reset", "close"):
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(raw_client(mirror)) for _ in range(10)]
                for client in clients:
                    await client.ask(path)
                    assert (await client.head()).status == 200
                    assert len(await client.exactly(MIB)) == MIB
                if how == "reset":
                    for client in clients:
                        client.reset()
            # No byte comes from upstream meanwhile.
            await until(lambda: open_descriptors() <= before, f"all descriptors are closed after {how}")
            await until(lambda: len(asyncio.all_tasks()) <= tasks, f"all tasks have ended after {how}")
        gate.open()
        if framing == "length":
            assert await stays.exactly(SIZE) == blob.data
        else:
            assert await stays.chunked() == blob.data
    assert journal.count("GET", path) == 1
    assert (await mirror.get(path))[1] == blob.data


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_clients_that_leave_before_upstream_answers_are_let_go(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, path: str, blob: FakeBlob, method: str
) -> None:
    gate = Gate()
    registry.always(path, hold(gate), method=method)
    await warm_up(registry, mirror)
    stays = asyncio.create_task(mirror.get(path, method))
    await gate.reached()
    before, tasks = open_descriptors(), len(asyncio.all_tasks())
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            for _ in range(10):
                client = await stack.enter_async_context(raw_client(mirror))
                await client.ask(path, method)
            await until(lambda: len(asyncio.all_tasks()) >= tasks + 10, "they are being answered")
        await until(lambda: open_descriptors() <= before, "all descriptors are closed")
        await until(lambda: len(asyncio.all_tasks()) <= tasks, "all tasks have ended")
    left = [line for line in logs if line["event"] == "request"]
    assert len(left) == 10
    assert all(line["cause"].startswith("cut: ") for line in left)
    gate.open()
    response, body = await stays
    assert (response.status, body) == (200, blob.data if method == "GET" else b"")
    assert journal.count(method, path) == 1


async def test_a_mirror_that_stops_waits_for_no_stalled_client(
    start_mirror: StartMirror, path: str, blob: FakeBlob
) -> None:
    async with AsyncExitStack() as stack:
        async with start_mirror(drain_timeout="100ms") as mirror:
            await mirror.get(path)
            clients = [await stack.enter_async_context(raw_client(mirror, TINY)) for _ in range(3)]
            for client in clients:
                await begin(client, path)
        for client in clients:
            received = await client.rest()
            assert blob.data.startswith(received)
            assert len(received) < SIZE


@pytest.mark.usefixtures("stored")
async def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection_and_is_fetched_again(
    mirror: RunningMirror, path: str, blob: FakeBlob, cache_folder: CacheFolder
) -> None:
    async with raw_client(mirror, TINY) as client:
        await client.send(request(path) + request("/v2/") + request(path, "HEAD"))
        head = await client.head()
        assert (head.status, head.length) == (200, SIZE)
        begun = await client.exactly(MIB)
        file = cache_folder.file(blob.digest)
        file.chmod(0o644)
        os.truncate(file, SIZE - MIB)

        received = begun + await client.rest()

    # No byte of the answers behind it, and no end that looks like one.
    assert received == blob.data[: SIZE - MIB]
    await until(lambda: cache_folder.digests() == set(), "the file is gone")
    for outcome in ("mirror; fwd=miss; stored", "mirror; hit"):
        response, body = await mirror.get(path)
        assert (response.headers["Cache-Status"], body) == (outcome, blob.data)
        await until_metric(mirror, "mirror_fills_in_flight", 0)
    await until_metric(mirror, "mirror_cache_bytes", SIZE)


@pytest.mark.usefixtures("stored")
async def test_a_file_that_the_disk_cannot_read_any_more_is_fetched_again(
    mirror: RunningMirror, path: str, blob: FakeBlob, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sendfile = os.sendfile

    def fail(out: int, file: int, offset: int, count: int) -> int:
        if offset >= 20 * MIB:
            raise OSError(errno.EIO, "the disk is broken")
        return sendfile(out, file, offset, min(count, 20 * MIB - offset))

    monkeypatch.setattr(os, "sendfile", fail)
    async with raw_client(mirror) as client:
        await client.send(request(path) + request("/v2/"))
        assert (await client.head()).length == SIZE
        assert await client.rest() == blob.data[: 20 * MIB]
    await until(lambda: cache_folder.digests() == set(), "the file is gone")
    monkeypatch.setattr(os, "sendfile", sendfile)
    response, body = await mirror.get(path)
    assert (response.headers["Cache-Status"], body) == ("mirror; fwd=miss; stored", blob.data)


@pytest.mark.usefixtures("stored")
async def test_a_client_that_takes_nothing_of_a_stored_blob_is_cut_and_nobody_else(
    mirror: RunningMirror, path: str, blob: FakeBlob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.outlet.STALL_SECONDS", 2.0)
    async with raw_client(mirror, TINY) as stalled, raw_client(mirror, TINY) as slow:
        await begin(stalled, path)
        await begin(slow, path)
        read = b""
        while await mirror.metric(CUT) < 1:
            # Slow is not stalled: it takes some all the time.
            read += await slow.exactly(100_000)
            await asyncio.sleep(0.02)
        assert read + await slow.exactly(SIZE - len(read)) == blob.data
        received = await stalled.rest()
        assert len(received) < SIZE
        assert blob.data.startswith(received)


@pytest.mark.usefixtures("stored")
async def test_a_part_of_a_file_that_shrinks_is_cut_as_well(
    mirror: RunningMirror, path: str, blob: FakeBlob, cache_folder: CacheFolder
) -> None:
    async with raw_client(mirror, TINY) as client:
        await client.send(request(path, Range="bytes=1000-") + request("/v2/"))
        assert (await client.head()).status == 206
        begun = await client.exactly(1)
        file = cache_folder.file(blob.digest)
        file.chmod(0o644)
        os.truncate(file, 20 * MIB)
        assert begun + await client.rest() == blob.data[1000 : 20 * MIB]


@pytest.mark.usefixtures("stored")
async def test_a_file_that_was_truncated_is_no_hit(
    mirror: RunningMirror, path: str, blob: FakeBlob, cache_folder: CacheFolder, journal: Journal
) -> None:
    file = cache_folder.file(blob.digest)
    file.chmod(0o644)
    os.truncate(file, SIZE - MIB)

    response, body = await mirror.get(path)

    # A complete answer with other bytes is the one thing that may not happen.
    assert (response.status, body == blob.data) == (200, True)
    assert journal.count("GET") == 2


@pytest.mark.usefixtures("stored")
async def test_a_file_that_is_deleted_while_it_is_sent_is_sent_to_its_end(
    mirror: RunningMirror, path: str, blob: FakeBlob, cache_folder: CacheFolder, journal: Journal
) -> None:
    journal.clear()
    async with raw_client(mirror, TINY) as client:
        await begin(client, path)
        begun = await client.exactly(MIB)
        cache_folder.file(blob.digest).unlink()
        # Meanwhile it is a miss for others, fetched anew under the same name.
        response, body = await mirror.get(path)
        assert (response.headers["Cache-Status"], body) == ("mirror; fwd=miss; stored", blob.data)
        assert begun + await client.exactly(SIZE - MIB) == blob.data
        await client.ask("/v2/")
        assert (await client.answer()).body == b"{}"
    assert journal.count("GET") == 1


async def test_a_partial_file_that_is_deleted_while_it_grows(
    registry: FakeRegistry, mirror: RunningMirror, path: str, blob: FakeBlob, cache_folder: CacheFolder
) -> None:
    gate = Gate()
    registry.fault(path, stop_at(2 * MIB, gate))

    async with raw_client(mirror) as client:
        await begin(client, path)
        begun = await client.exactly(2 * MIB)
        cache_folder.partial(blob.digest).unlink()
        gate.open()
        # The bytes are right and go out; they only cannot be kept.
        assert begun + await client.exactly(SIZE - 2 * MIB) == blob.data
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert cache_folder.digests() == set()
    response, body = await mirror.get(path)
    assert (response.status, body) == (200, blob.data)
    await until(lambda: cache_folder.digests() == {blob.digest}, "the blob is committed")
