"""Connections: heads that do not come, more clients than there is room for, and no file handle for one more."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.command import Serving, configuration, serving
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.raw_http import RawClient, raw_client, request
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
TINY = 4096
BLOB = content.blob(16 * MIB, "large")
"""More than a kernel keeps in the buffers of a connection that nobody reads."""

PATH = f"/v2/library/alpine/blobs/{BLOB.digest}"
HALF = b"GET /v2/ HTTP/1.1\r\nHost: mirr"
OTHER_HALF = b"or.test\r\n\r\n"
HEAD_SECONDS = 0.5


@pytest.fixture
def blob(registry: FakeRegistry) -> FakeBlob:
    registry.put_blob("library/alpine", BLOB)
    return BLOB


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head has much less time than it has."""
    monkeypatch.setattr("mirror.server.connection.HEAD_SECONDS", HEAD_SECONDS)


def refused(reason: str) -> str:
    return f'mirror_connections_refused_total{{reason="{reason}"}}'


async def answers_ping(client: RawClient) -> None:
    await client.ask("/v2/")
    answer = await client.answer()
    assert (answer.head.status, answer.body) == (200, b"{}")


async def is_told_to_go(client: RawClient, status: int, code: str) -> dict[str, str]:
    """Read an error document and the end of the connection after it; return the headers."""
    answer = await client.answer()
    assert (answer.head.status, answer.whole) == (status, True)
    assert [error["code"] for error in json.loads(answer.body)["errors"]] == [code]
    assert answer.head.headers["connection"] == "close"
    assert answer.head.headers["content-type"] == "application/json"
    assert await client.ended()
    return answer.head.headers


# Heads. --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
async def test_half_a_head_and_then_silence_is_closed(mirror: RunningMirror) -> None:
    async with raw_client(mirror) as client:
        await client.send(HALF)
        await is_told_to_go(client, 408, "UNSUPPORTED")
    await until_metric(mirror, refused("slow_head"), 1)
    assert (await mirror.get("/v2/"))[0].status == 200


@pytest.mark.usefixtures("hasty")
async def test_a_connection_that_says_nothing_is_closed_without_a_word(mirror: RunningMirror) -> None:
    async with raw_client(mirror) as client:
        assert await client.rest() == b""
    await until_metric(mirror, refused("slow_head"), 1)


@pytest.mark.usefixtures("hasty")
async def test_a_byte_now_and_then_wins_no_time(mirror: RunningMirror) -> None:
    async def trickle(client: RawClient) -> None:
        await client.send(HALF)
        while True:
            await asyncio.sleep(HEAD_SECONDS / 10)
            await client.send(b"x")

    async with raw_client(mirror) as client:
        trickling = asyncio.create_task(trickle(client))
        head = await client.head()
        assert head.status == 408
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)


@pytest.mark.usefixtures("hasty")
async def test_a_later_head_has_its_time_from_its_first_byte(mirror: RunningMirror) -> None:
    async with raw_client(mirror) as client:
        await answers_ping(client)
        # Between requests a connection may be idle for longer.
        assert await client.nothing_comes(3 * HEAD_SECONDS)
        await client.send(HALF)
        await is_told_to_go(client, 408, "UNSUPPORTED")
    await until_metric(mirror, refused("slow_head"), 1)


async def test_a_head_in_pieces_is_answered(mirror: RunningMirror) -> None:
    async with raw_client(mirror) as client:
        for byte in HALF + OTHER_HALF:
            await client.send(bytes([byte]))
        assert (await client.answer()).body == b"{}"
        await answers_ping(client)


@pytest.mark.usefixtures("hasty", "blob")
async def test_the_time_that_a_body_takes_is_not_that_of_the_head_behind_it(mirror: RunningMirror) -> None:
    async with raw_client(mirror, TINY) as client:
        await client.send(request(PATH) + HALF)
        head = await client.head()
        assert (head.status, head.length) == (200, BLOB.size)
        received = await client.exactly(MIB)
        await asyncio.sleep(2 * HEAD_SECONDS)
        await client.send(OTHER_HALF)
        received += await client.exactly(BLOB.size - MIB)
        assert received == BLOB.data
        assert (await client.answer()).body == b"{}"


@pytest.mark.usefixtures("hasty", "blob")
@pytest.mark.parametrize("when", ["at once", "while the body is sent"])
async def test_a_head_that_stays_half_behind_a_body_is_closed_after_the_body(mirror: RunningMirror, when: str) -> None:
    async with raw_client(mirror, TINY) as client:
        await client.send(request(PATH) + (HALF if when == "at once" else b""))
        await client.head()
        if when != "at once":
            await client.send(HALF)
        await asyncio.sleep(2 * HEAD_SECONDS)
        assert await client.exactly(BLOB.size) == BLOB.data
        await is_told_to_go(client, 408, "UNSUPPORTED")
    await until_metric(mirror, refused("slow_head"), 1)


@pytest.mark.usefixtures("hasty", "blob")
async def test_requests_in_a_row_take_the_time_they_take(mirror: RunningMirror) -> None:
    async with raw_client(mirror, TINY) as client:
        await client.send(request("/v2/") + request(PATH) + request("/v2/"))
        assert (await client.answer()).body == b"{}"
        await asyncio.sleep(2 * HEAD_SECONDS)
        assert (await client.answer()).body == BLOB.data
        assert (await client.answer()).body == b"{}"
        assert await client.nothing_comes(2 * HEAD_SECONDS)
        await answers_ping(client)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("method", "framing"),
    [
        ("GET", "Content-Length: 1000000"),
        ("HEAD", "Transfer-Encoding: chunked"),
        ("POST", "Content-Length: 1000000"),
    ],
)
async def test_a_body_that_trickles_keeps_no_connection(mirror: RunningMirror, method: str, framing: str) -> None:
    async with raw_client(mirror) as client:
        await client.send(f"{method} /v2/ HTTP/1.1\r\nHost: mirror.test\r\n{framing}\r\n\r\n".encode() + b"1\r\n")
        assert (await client.answer(method)).head.status == (405 if method == "POST" else 200)
        assert await client.ended()
    await until_metric(mirror, "mirror_connections", 0)


@pytest.mark.parametrize(
    ("beginning", "reason"), [(b"\x16\x03\x01 hello", "tls"), (b"\x16\x02 hello", "malformed"), (b"hello", "malformed")]
)
async def test_what_is_not_http_is_counted(mirror: RunningMirror, beginning: bytes, reason: str) -> None:
    async with raw_client(mirror) as client:
        await client.send(beginning + b"\r\n\r\n")
        answer = await client.answer()
        assert (answer.head.status, answer.head.headers["server"]) == (400, "mirror")
        assert json.loads(answer.body)["errors"][0]["code"] == "UNSUPPORTED"
        assert await client.ended()
    await until_metric(mirror, refused(reason), 1)
    others = {"full", "slow_head", "malformed", "tls"} - {reason}
    assert [await mirror.metric(refused(other)) for other in others] == [0, 0, 0]


async def ask_and_take_nothing(client: RawClient, asked: bytes) -> None:
    async with asyncio.timeout(45):
        while True:
            await client.send(asked)


async def test_a_client_that_takes_no_answer_is_cut(
    mirror: RunningMirror, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.stalls.STALL_SECONDS", 0.3)
    manifest = content.manifest({"schemaVersion": 2, "padding": "x" * 3 * MIB}, content.OCI_MANIFEST)
    registry.put_manifest("library/alpine", manifest)
    asked = request(f"/v2/library/alpine/manifests/{manifest.digest}")
    async with raw_client(mirror, TINY) as client:
        with pytest.raises(ConnectionError):
            await ask_and_take_nothing(client, asked)
    await until_metric(mirror, "mirror_connections", 0)


# Room. ---------------------------------------------------------------------------------------------------

ROOM = 5


@pytest.fixture
async def small(start_mirror: StartMirror, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningMirror]:
    """A mirror with room for few connections."""
    monkeypatch.setattr("mirror.server.listener.connection_limit", lambda: ROOM)
    async with start_mirror() as mirror:
        assert await mirror.metric("mirror_connections_max") == ROOM
        yield mirror


@asynccontextmanager
async def occupied(mirror: RunningMirror) -> AsyncIterator[list[RawClient]]:
    """All connections there is room for, on each of which half a head has been sent."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_client(mirror)) for _ in range(ROOM)]
        for client in clients:
            await client.send(HALF)
        await until_metric(mirror, "mirror_connections", ROOM)
        yield clients


async def test_beyond_the_limit_a_client_is_told_to_come_again(small: RunningMirror) -> None:
    async with occupied(small) as clients:
        async with raw_client(small) as late:
            await late.ask("/v2/")
            headers = await is_told_to_go(late, 503, "UNAVAILABLE")
            assert headers["retry-after"] == "1"
        assert await small.metric(refused("full")) == 1
        assert await small.metric("mirror_connections") == ROOM
        for client in clients:
            await client.send(OTHER_HALF)
            assert (await client.answer()).body == b"{}"


async def test_nobody_who_is_turned_away_is_reset(small: RunningMirror) -> None:
    # The request is there before the connection is taken: closing with it unread would reset the connection.
    host, _, port = small.mirror.public.address.rpartition(":")
    loop = asyncio.get_running_loop()
    async with occupied(small):
        for _ in range(80):
            with socket.create_connection((host, int(port))) as late:
                late.sendall(request("/v2/"))
                late.setblocking(False)
                answer = b""
                while data := await asyncio.wait_for(loop.sock_recv(late, TINY), 20):
                    answer += data
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b"}]}")


async def test_there_is_room_again_when_a_connection_ends(small: RunningMirror) -> None:
    for _ in range(3):
        async with occupied(small):
            pass
        await until_metric(small, "mirror_connections", 0)
    async with occupied(small) as clients:
        clients[0].reset()
        await until_metric(small, "mirror_connections", ROOM - 1)
        async with raw_client(small) as late:
            await answers_ping(late)
    assert await small.metric(refused("full")) == 0


async def test_who_is_idle_longest_makes_room(small: RunningMirror) -> None:
    async with occupied(small) as clients:
        for client in (clients[2], clients[0]):
            await client.send(OTHER_HALF)
            assert (await client.answer()).body == b"{}"
        async with raw_client(small) as late:
            await answers_ping(late)
            assert await clients[2].ended()
            await answers_ping(clients[0])
            # It was idle before the other one has been idle again.
            async with raw_client(small) as later:
                await answers_ping(later)
                assert await late.ended()
    assert await small.metric(refused("full")) == 0


async def test_no_busy_connection_makes_room(small: RunningMirror, registry: FakeRegistry) -> None:
    registry.put_blob("library/alpine", BLOB)
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(raw_client(small, TINY)) for _ in range(ROOM)]
        for reader in readers:
            await answers_ping(reader)
            await reader.ask(PATH)
            assert (await reader.head()).status == 200
        async with raw_client(small) as late:
            await is_told_to_go(late, 503, "UNAVAILABLE")
        for reader in readers:
            assert await reader.exactly(BLOB.size) == BLOB.data
            await answers_ping(reader)


@pytest.mark.usefixtures("hasty")
async def test_a_flood_of_connections_passes_over(small: RunningMirror) -> None:
    async with AsyncExitStack() as stack:
        flood = [await stack.enter_async_context(raw_client(small)) for _ in range(1000)]
        answers = await asyncio.gather(*(client.rest() for client in flood))
        told = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
        assert len(told) >= 1000 // 2
        assert all(answer == b"" or answer in told for answer in answers)
        assert await small.metric(refused("full")) + await small.metric(refused("slow_head")) == 1000
        await until_metric(small, "mirror_connections", 0)
        async with raw_client(small) as client:
            await answers_ping(client)


# File handles. -------------------------------------------------------------------------------------------


def limit_files(pid: int, files: int) -> None:
    """Set how many files a process may have open; it may go up again as far as the hard limit."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, hard))


NO_MORE = 3
"""A process that has its standard streams can open nothing beyond them."""


@pytest.fixture
def _limits_as_before() -> Iterator[None]:
    """Give the test process its own limit of open files back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def told(mirror: Serving, event: str) -> list[dict[str, Any]]:
    return [record for record in mirror.records() if record["event"] == event]


@pytest.mark.usefixtures("_limits_as_before")
async def test_the_limit_on_open_files_is_raised_and_connections_fit_into_it(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    async with serving(configuration(registry, token_service, tmp_path), tmp_path) as mirror:
        assert resource.prlimit(mirror.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        url = f"http://{mirror.address('admin')}/metrics"
        async with mirror.session.get(url, headers={"Accept-Encoding": "identity"}) as response:
            assert f"mirror_connections_max {min(hard // 4, 10_000):.1f}\n" in await response.text()


async def test_without_file_handles_the_mirror_serves_who_is_there_and_heals(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    config = configuration(registry, token_service, tmp_path, log={"format": "json"})
    async with serving(config, tmp_path) as mirror, AsyncExitStack() as stack:
        address = mirror.address("public")
        early = await stack.enter_async_context(raw_client(address))
        await answers_ping(early)
        probe = await stack.enter_async_context(raw_client(mirror.address("admin")))
        await probe.ask("/readyz")
        assert json.loads((await probe.answer()).body)["degraded"] == []
        before = resource.prlimit(mirror.process.pid, resource.RLIMIT_NOFILE)[0]
        limit_files(mirror.process.pid, NO_MORE)
        late = [await stack.enter_async_context(raw_client(address)) for _ in range(5)]
        for client in late:
            await client.ask("/v2/")
        await until(lambda: bool(told(mirror, "connections have to wait")), "it is told")
        await answers_ping(early)
        # It is not the disk, and no reason to take the mirror away from who is there.
        await probe.ask("/readyz")
        readiness = await probe.answer()
        told_degraded = ["too many files are open: what is not in memory has to wait"]
        assert (readiness.head.status, json.loads(readiness.body)["degraded"]) == (200, told_degraded)
        limit_files(mirror.process.pid, before)
        for client in late:
            assert (await client.answer()).body == b"{}"
        [line] = told(mirror, "connections have to wait")
        assert (line["level"], line["cause"]) == ("error", "too many open files")
        assert not [line for line in mirror.log if "Traceback" in line]
        assert not mirror.stderr


async def test_a_stop_without_file_handles_is_in_order(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    config = configuration(registry, token_service, tmp_path, log={"format": "json"}, drain_timeout="1500ms")
    async with serving(config, tmp_path) as mirror:
        registry.put_blob("library/alpine", BLOB)
        address = mirror.address("public")
        async with raw_client(address, TINY) as reader, AsyncExitStack() as stack:
            await reader.ask(PATH)
            await reader.head()
            limit_files(mirror.process.pid, NO_MORE)
            await stack.enter_async_context(raw_client(address))
            await until(lambda: bool(told(mirror, "connections have to wait")), "it is told")
            mirror.terminate()
            assert await mirror.exit_code() == 0
        assert not [line for line in mirror.log if "Traceback" in line]
        assert not mirror.stderr
