"""A mirror behind a mirror, through the whole of both; and mirrors that ask each other in a circle."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from mirror.app import Mirror
from mirror.config import Config
from tests.fakes import content, faults
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.origin import Origin
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import ask, error_code, refusal, send
from tests.integration.conftest import RunningMirror, StartMirror, docker_io

IMAGE = content.image(layers=2)
LAYER = IMAGE.layers[0]
BIG = content.image(layers=1, size=1_500_000, seed="big")
ALPINE = "library/alpine"
TAG = f"/v2/{ALPINE}/manifests/3.20"
BLOB = f"/v2/{ALPINE}/blobs/{LAYER.digest}"
PATHS = (TAG, f"/v2/{ALPINE}/manifests/{IMAGE.digest}", BLOB, f"/v2/{ALPINE}/tags/list")
NO_TTL = {"tag_ttl": "0s", "stale_if_error": "1d", "negative_ttl": "0s"}


class Circle:
    """Addresses for mirrors that are to ask each other: they are known before any of them runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def mirror(self, name: str, port: int, *endpoints: str, **sections: Any) -> AsyncIterator[RunningMirror]:
        """Run a mirror at this port, whose Docker Hub is at these endpoints."""
        content: dict[str, Any] = {
            "listen": f"127.0.0.1:{port}",
            "admin": {"listen": "127.0.0.1:0"},
            "cache": {"path": str(self._folder / name)},
            "upstreams": {"docker.io": {"endpoints": list(endpoints), "private_network": True, "read_ahead": False}},
            **sections,
        }
        mirror = Mirror(Config(**content))
        async with mirror.running(), aiohttp.ClientSession(auto_decompress=False) as session:
            yield RunningMirror(mirror, session)


@pytest.fixture
def circle(tmp_path: Path) -> Circle:
    """Mirrors of this test, by name."""
    return Circle(tmp_path)


@pytest.fixture
async def ports() -> AsyncIterator[list[int]]:
    """Ports that nobody listens at, and that nobody else is given."""
    held = [Origin("held") for _ in range(3)]
    yield [one.port for one in held]
    for one in held:
        await one.close()


@pytest.fixture
async def pair(
    registry: FakeRegistry, token_service: FakeTokenService, start_mirror: StartMirror, tmp_path: Path
) -> AsyncIterator[tuple[RunningMirror, RunningMirror]]:
    """A mirror, and the one behind it, which asks the registry; nothing in either is fresh for long."""
    registry.add_image(ALPINE, "3.20", IMAGE)
    registry.add_image(ALPINE, "big", BIG)
    async with start_mirror(freshness=NO_TTL) as behind:
        upstreams = {"docker.io": {"endpoints": [behind.url], "private_network": True, "read_ahead": False}}
        cache = {"path": str(tmp_path / "front")}
        async with start_mirror(upstreams=upstreams, cache=cache, freshness=NO_TTL) as front:
            yield front, behind


# In a row. ---------------------------------------------------------------------------------------------------


async def test_a_mirror_behind_a_mirror_serves_cold_and_warm(
    pair: tuple[RunningMirror, RunningMirror], journal: Journal
) -> None:
    front, _ = pair
    for _ in range(2):
        response, body = await front.get(TAG)
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert response.headers["Docker-Content-Digest"] == IMAGE.digest
        for blob in IMAGE.blobs:
            response, body = await front.get(f"/v2/{ALPINE}/blobs/{blob.digest}")
            assert (response.status, body) == (200, blob.data)
    assert len(journal.select("GET", path="*/blobs/*")) == len(IMAGE.blobs)
    assert len(journal.select("GET", path="*/manifests/*")) == 1


async def test_head_of_a_cold_blob_answers_and_fetches_nothing(
    pair: tuple[RunningMirror, RunningMirror], journal: Journal
) -> None:
    front, _ = pair
    response, _ = await front.get(BLOB, "HEAD")
    assert (response.status, response.headers["Content-Length"]) == (200, str(LAYER.size))
    assert journal.paths() == [f"HEAD {BLOB}"]


async def test_what_is_not_there_is_not_there(
    pair: tuple[RunningMirror, RunningMirror], registry: FakeRegistry
) -> None:
    front, _ = pair
    registry.absent(f"/v2/{ALPINE}/*")
    for path in (f"/v2/{ALPINE}/manifests/none", f"/v2/{ALPINE}/blobs/{content.digest_of(b'none')}"):
        response, body = await front.get(path)
        assert (response.status, error_code(body).partition("_")[2]) == (404, "UNKNOWN")


async def test_a_part_of_a_blob_that_grows_behind(
    pair: tuple[RunningMirror, RunningMirror], registry: FakeRegistry, journal: Journal
) -> None:
    front, _ = pair
    [layer] = BIG.layers
    gate = Gate()
    registry.fault(f"*/{layer.digest}", faults.stop_at(800_000, gate), method="GET")
    path = f"/v2/{ALPINE}/blobs/{layer.digest}"
    async with front.session.get(front.url + path, headers={"Range": "bytes=1000-299999"}) as response:
        assert response.status == 206
        await gate.reached()
        early = await response.content.readexactly(100_000)
        assert early == layer.data[1000:101_000]
        gate.open()
        assert early + await response.read() == layer.data[1000:300_000]
    assert journal.count("GET", path=path) == 1


async def test_lists_come_through(pair: tuple[RunningMirror, RunningMirror], registry: FakeRegistry) -> None:
    front, _ = pair
    response, body = await front.get(f"/v2/{ALPINE}/tags/list?n=1")
    assert (response.status, json.loads(body)["tags"]) == (200, ["3.20"])
    assert 'rel="next"' in response.headers["Link"]
    response, body = await front.get(f"/v2/{ALPINE}/referrers/{IMAGE.digest}")
    assert (response.status, json.loads(body)["manifests"]) == (200, [])


async def test_pages_of_the_mirror_behind_become_one_list(
    pair: tuple[RunningMirror, RunningMirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    front, _ = pair
    # Its Links carry the namespace, which is to be told once.
    monkeypatch.setattr("mirror.upstream.client._PAGE", "n=1")
    response, body = await front.get(f"/v2/{ALPINE}/tags/list")
    assert (response.status, json.loads(body)["tags"]) == (200, ["3.20", "big"])


async def test_the_mirror_behind_hears_which_registry_is_meant(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    journal: Journal,
    tmp_path: Path,
) -> None:
    registry.add_image("library/app", "1", IMAGE)
    other_registry.add_image("app", "1", BIG)
    registries = {"docker.io": registry, "ghcr.io": other_registry}
    upstreams = {name: docker_io(one, token_service) for name, one in registries.items()}
    async with start_mirror(upstreams=upstreams) as behind:
        chained = {
            name: {"endpoints": [behind.url], "private_network": True, "read_ahead": False} for name in upstreams
        }
        async with start_mirror(upstreams=chained, cache={"path": str(tmp_path / "front")}) as front:
            for path, image in (("/v2/app/manifests/1", IMAGE), ("/v2/app/manifests/1?ns=ghcr.io", BIG)):
                _, body = await front.get(path)
                assert body == image.manifest.data
    assert {(entry.host, entry.query) for entry in journal.entries} == {
        ("registry", "ns=docker.io"),
        ("other", "ns=ghcr.io"),
    }


async def test_the_registry_itself_is_not_told_who_it_is_nor_is_what_it_leads_to(
    registry: FakeRegistry, token_service: FakeTokenService, start_mirror: StartMirror, journal: Journal
) -> None:
    registry.add_image(ALPINE, "3.20", IMAGE)
    upstream = docker_io(registry, token_service)
    for given in (
        {**upstream, "aliases": [registry.host]},
        {**upstream, "endpoints": f"{registry.url}/hub"},
    ):
        registry.add_image(f"hub/{ALPINE}", "3.20", IMAGE)
        async with start_mirror(upstreams={"docker.io": given}, freshness=NO_TTL) as mirror:
            assert (await mirror.get(TAG))[0].status == 200
    assert {entry.query for entry in journal.entries} == {""}


# Through whom. -----------------------------------------------------------------------------------------------


def loops(journal: Journal) -> set[str]:
    """Return how each request to a fake said through whom it came, with the mirrors' names in order of appearance."""
    return {entry.header("CDN-Loop") or "" for entry in journal.entries}


async def test_every_request_says_through_whom_it_came(
    pair: tuple[RunningMirror, RunningMirror], journal: Journal
) -> None:
    front, behind = pair
    await front.get(TAG, headers={"CDN-Loop": 'cdn.example; x="1, 2", (garbage'})
    await front.get(BLOB, headers={"CDN-Loop": 'cdn.example; x="1, 2"'})
    [came] = loops(journal)
    assert re.fullmatch(r'cdn\.example; x="1, 2", mirror-[0-9a-f]{16}, mirror-[0-9a-f]{16}', came)
    journal.clear()
    await behind.get(f"/v2/{ALPINE}/tags/list")
    [alone] = loops(journal)
    assert came.endswith(f", {alone}")


async def test_who_comes_without_a_header_is_not_taken_for_who_came_before(
    pair: tuple[RunningMirror, RunningMirror], journal: Journal
) -> None:
    front, _ = pair
    # On the same connection.
    await front.get(TAG, headers={"CDN-Loop": "cdn.example"})
    journal.clear()
    await front.get(BLOB)
    assert not any("cdn.example" in one for one in loops(journal))


LINES = [
    (['\x01\x02, (, "open'], 400),
    (['(, "open, =;=,;;;,,,'], 200),
    (["a" * 2000], 200),
    (["a" * 2049], 508),
    ([", ".join(["a"] * 15)], 200),
    ([", ".join(["a"] * 17)], 508),
    (["a"] * 17, 508),
    (["(" * 30_000], 200),
    (["a.example", "a.example, b.example;x=1", "b.example;x=2"], 200),
]


async def test_a_header_of_any_kind_is_bounded(pair: tuple[RunningMirror, RunningMirror], journal: Journal) -> None:
    front, _ = pair
    for lines, status in LINES:
        fields = "".join(f"CDN-Loop: {line}\r\n" for line in lines)
        answer = await send(front, f"GET {TAG} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode("latin-1"))
        assert answer.head.status == status, lines
    assert all(len(one) < 4096 and "(" not in one and "open" not in one for one in loops(journal))


# In a circle. ------------------------------------------------------------------------------------------------


async def test_two_mirrors_that_ask_each_other_find_out_at_once(circle: Circle, ports: list[int]) -> None:
    first, second, _ = ports
    with structlog.testing.capture_logs() as logged:
        async with (
            circle.mirror("a", first, f"http://127.0.0.1:{second}") as a,
            circle.mirror("b", second, f"http://127.0.0.1:{first}"),
            asyncio.timeout(10),
        ):
            for path in PATHS:
                for method in ("HEAD", "GET"):
                    response, _ = await a.get(path, method)
                    assert response.status == 502
                    assert response.headers["Cache-Status"] == "mirror; detail=upstream-failed"
    [refused] = {line["todo"] for line in logged if line["event"] == "asked in a circle"}
    assert refused == "upstreams.docker.io.endpoints lead to a mirror that asks this one again: take one of them out"


async def test_nobody_waits_for_himself_where_both_are_asked_at_once(
    circle: Circle, ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.store.manifests._TURN_SECONDS", 60.0)
    first, second, _ = ports
    async with (
        circle.mirror("a", first, f"http://127.0.0.1:{second}") as a,
        circle.mirror("b", second, f"http://127.0.0.1:{first}") as b,
        asyncio.timeout(10),
    ):
        for path in PATHS:
            asked = [mirror.get(path, method) for method in ("GET", "HEAD") for mirror in (a, b) * 4]
            assert {response.status for response, _ in await asyncio.gather(*asked)} == {502}, path


async def test_a_mirror_that_asks_itself(circle: Circle, ports: list[int]) -> None:
    port, *_ = ports
    async with circle.mirror("a", port, f"http://127.0.0.1:{port}") as mirror, asyncio.timeout(10):
        assert (await mirror.get(TAG))[0].status == 502


async def test_who_is_in_a_circle_says_so_to_who_asked(circle: Circle, ports: list[int]) -> None:
    port, *_ = ports
    async with circle.mirror("a", port, "http://127.0.0.1:9") as mirror:
        name = mirror.mirror._cache.identity
        answer = await ask(mirror, TAG, CDN_Loop=f"other, {name}; x=1, another")
        assert refusal(answer) == (508, "UNAVAILABLE")
        assert "endpoints of mirrors lead in a circle" in answer.body.decode()
        assert answer.head.headers["cache-status"] == "mirror; detail=loop-detected"


async def test_neighbours_that_ask_each_other_first_and_then_the_registry(
    circle: Circle, ports: list[int], registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image(ALPINE, "3.20", IMAGE)
    first, second, _ = ports
    async with (
        circle.mirror("a", first, f"http://127.0.0.1:{second}", registry.url) as a,
        circle.mirror("b", second, f"http://127.0.0.1:{first}", registry.url) as b,
        asyncio.timeout(10),
    ):
        for path, data in ((TAG, IMAGE.manifest.data), (BLOB, LAYER.data)):
            response, body = await a.get(path)
            assert (response.status, body) == (200, data)
            response, body = await b.get(path)
            assert (response.status, body) == (200, data)
    assert journal.count("GET", path="*/blobs/*") == 1


async def test_neighbours_that_are_both_asked_at_once_do_not_wait_for_each_other(
    circle: Circle, ports: list[int], registry: FakeRegistry, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.upstream.endpoints.FAILOVER_WITHIN", 15.0)
    registry.add_image(ALPINE, "3.20", IMAGE)
    first, second, _ = ports
    async with (
        circle.mirror("a", first, f"http://127.0.0.1:{second}", registry.url) as a,
        circle.mirror("b", second, f"http://127.0.0.1:{first}", registry.url) as b,
        asyncio.timeout(10),
    ):
        for blob in IMAGE.layers:
            path = f"/v2/{ALPINE}/blobs/{blob.digest}"
            for response, body in await asyncio.gather(*[mirror.get(path) for mirror in (a, b) * 2]):
                assert (response.status, body) == (200, blob.data)
    assert journal.count("GET", path="*/blobs/*") <= 2 * len(IMAGE.layers)


async def test_processes_of_one_folder_are_one_mirror(circle: Circle, ports: list[int]) -> None:
    first, second, third = ports
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(circle.mirror("shared", first, f"http://127.0.0.1:{second}"))
        await stack.enter_async_context(circle.mirror("b", second, f"http://127.0.0.1:{third}"))
        other = await stack.enter_async_context(circle.mirror("shared", third, f"http://127.0.0.1:{second}"))
        assert a.mirror._cache.identity == other.mirror._cache.identity
        async with asyncio.timeout(10):
            assert (await a.get(BLOB))[0].status == 502
