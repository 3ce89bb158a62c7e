"""Each fault of the fakes must bite, else a test that survives it proves nothing: scripts, timing, bodies."""

import asyncio
import time
from collections.abc import Callable

import aiohttp
import pytest

from tests.contract.reply import read_until_failure
from tests.fakes import content, faults
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault

LAYER = content.blob(300_000)
PATH = f"/v2/library/app/blobs/{LAYER.digest}"


@pytest.fixture
def url(registry: FakeRegistry) -> str:
    registry.put_blob("library/app", LAYER)
    return registry.url + PATH


async def test_faults_are_used_up_in_order(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.status(503), faults.healthy, faults.status(500), method="GET")
    statuses = []
    for method in ("GET", "HEAD", "GET", "GET", "GET"):
        async with client.request(method, url) as response:
            statuses.append(response.status)
    assert statuses == [503, 200, 200, 500, 200]
    assert registry.script.unused() == []


async def test_lasting_faults_last_until_healed(
    registry: FakeRegistry, client: aiohttp.ClientSession, url: str
) -> None:
    registry.always("*/blobs/*", faults.header("X-One", "1"), faults.header("X-Two", "2"))
    for _ in range(2):
        async with client.get(url) as response:
            assert (response.headers["X-One"], response.headers["X-Two"]) == ("1", "2")
    registry.heal("*/blobs/*")
    async with client.get(url) as response:
        assert "X-One" not in response.headers


async def test_delay(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.delay(0.2))
    begun = time.monotonic()
    async with client.get(url):
        assert time.monotonic() - begun >= 0.2


async def test_hold(registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal, url: str) -> None:
    gate = Gate()
    registry.fault(PATH, faults.hold(gate))
    task = asyncio.create_task(client.get(url))
    await gate.reached()
    assert [entry.status for entry in journal.entries] == [None]
    assert not task.done()
    gate.open()
    async with await task as response:
        assert await response.read() == LAYER.data


async def test_stop_at(registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal, url: str) -> None:
    gate = Gate()
    registry.fault(PATH, faults.stop_at(100_000, gate))
    async with client.get(url) as response:
        first = await response.content.readexactly(100_000)
        await gate.reached()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await response.content.readany()
        assert journal.body_bytes(PATH) == 100_000
        gate.open()
        assert first + await response.read() == LAYER.data


async def test_stop_at_a_client_that_leaves(
    registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal, url: str
) -> None:
    gate = Gate()
    registry.fault(PATH, faults.stop_at(10, gate))
    response = await client.get(url)
    await gate.reached()
    response.close()
    gate.open()
    async with client.get(url) as again:
        assert await again.read() == LAYER.data
    assert [entry.complete for entry in journal.entries] == [False, True]


@pytest.mark.parametrize("cut", [faults.cut_at, faults.short_body])
@pytest.mark.parametrize("byte", [0, 1, 123_456])
async def test_cut(
    registry: FakeRegistry,
    client: aiohttp.ClientSession,
    url: str,
    cut: Callable[[int], Fault],
    byte: int,
) -> None:
    registry.fault(PATH, cut(byte))
    async with client.get(url) as response:
        assert response.headers["Content-Length"] == str(LAYER.size)
        assert await read_until_failure(response) == LAYER.data[:byte]


async def test_a_cut_is_a_reset(registry: FakeRegistry, url: str) -> None:
    registry.fault(PATH, faults.cut_at(5))
    reader, writer = await asyncio.open_connection("127.0.0.1", registry.port)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: {registry.host}\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read(-1)
    writer.close()


async def test_cut_of_a_range_counts_from_its_start(
    registry: FakeRegistry, client: aiohttp.ClientSession, url: str
) -> None:
    registry.fault(PATH, faults.cut_at(50))
    async with client.get(url, headers={"Range": "bytes=1000-"}) as response:
        assert await read_until_failure(response) == LAYER.data[1000:1050]


async def test_truncated_body_looks_complete(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.truncated(1000))
    async with client.get(url) as response:
        assert response.headers["Content-Length"] == "1000"
        assert await response.read() == LAYER.data[:1000]


async def test_wrong_bytes_of_the_right_length(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.wrong_bytes())
    async with client.get(url) as response:
        body = await response.read()
    assert len(body) == LAYER.size
    assert content.digest_of(body) != LAYER.digest


async def test_endless_body(registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal, url: str) -> None:
    registry.fault(PATH, faults.endless)
    async with client.get(url) as response:
        assert "Content-Length" not in response.headers
        await response.content.readexactly(5_000_000)
        response.close()
    assert not journal.entries[0].complete


@pytest.mark.parametrize("fault", [faults.dropped, faults.raw(b"\0\0 not HTTP\r\n\r\n")])
async def test_no_answer(registry: FakeRegistry, client: aiohttp.ClientSession, url: str, fault: Fault) -> None:
    # Lasting, because this client asks again by itself when a connection drops without an answer.
    registry.always(PATH, fault)
    with pytest.raises(aiohttp.ClientError):
        await client.get(url)


async def test_slow(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.slow(piece=100_000, pause=0.05))
    begun = time.monotonic()
    async with client.get(url) as response:
        assert await response.read() == LAYER.data
    assert time.monotonic() - begun >= 0.1


async def test_meanwhile(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    old, new = content.image(1, seed="old"), content.image(1, seed="new")
    registry.add_image("library/app", "latest", old)
    path = "/v2/library/app/manifests/latest"
    registry.fault(path, faults.meanwhile(lambda: registry.move_tag("library/app", "latest", new)))
    digests = []
    for method in ("HEAD", "GET"):
        async with client.request(method, registry.url + path, headers={"Accept": content.OCI_MANIFEST}) as response:
            digests.append(response.headers["Docker-Content-Digest"])
    assert digests == [old.digest, new.digest]
