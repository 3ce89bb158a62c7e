"""Faults in what an answer says about itself: status, headers, framing."""

import gzip

import aiohttp
import pytest

from tests.contract.reply import read_until_failure
from tests.fakes import content, faults
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault

LAYER = content.blob(300_000)
PATH = f"/v2/library/app/blobs/{LAYER.digest}"


@pytest.fixture
def url(registry: FakeRegistry) -> str:
    registry.put_blob("library/app", LAYER)
    return registry.url + PATH


async def test_declared_length_too_large(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.declared_length(LAYER.size + 10))
    async with client.get(url) as response:
        assert await read_until_failure(response) == LAYER.data


async def test_html(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.html)
    async with client.get(url) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert "Docker-Content-Digest" not in response.headers


@pytest.mark.parametrize("value", ["text/plain", None])
async def test_content_type(registry: FakeRegistry, client: aiohttp.ClientSession, url: str, value: str | None) -> None:
    registry.fault(PATH, faults.content_type(value))
    async with client.get(url) as response:
        assert response.headers.get("Content-Type") == value


@pytest.mark.parametrize("value", ["sha256:" + "0" * 64, None])
async def test_content_digest(
    registry: FakeRegistry, client: aiohttp.ClientSession, url: str, value: str | None
) -> None:
    registry.fault(PATH, faults.content_digest(value))
    async with client.get(url) as response:
        assert response.headers.get("Docker-Content-Digest") == value


async def test_repeated_header(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.repeated_header("Docker-Content-Digest", "sha256:other"))
    async with client.get(url) as response:
        assert response.headers.getall("Docker-Content-Digest") == [LAYER.digest, "sha256:other"]


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
async def test_status(registry: FakeRegistry, client: aiohttp.ClientSession, url: str, code: int) -> None:
    registry.fault(PATH, faults.status(code, retry_after=7))
    async with client.get(url) as response:
        assert (response.status, response.headers["Retry-After"]) == (code, "7")
        assert (await response.json())["errors"][0]["message"] == f"scripted {code}"


async def test_gzip(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.gzip_encoded)
    async with client.get(url, headers={"Accept-Encoding": "identity"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await response.read()) == LAYER.data


@pytest.mark.parametrize(
    ("fault", "coding"), [(faults.chunked, "chunked"), (faults.until_close, None)], ids=["chunked", "close"]
)
async def test_body_without_a_length(
    registry: FakeRegistry, client: aiohttp.ClientSession, url: str, fault: Fault, coding: str | None
) -> None:
    registry.fault(PATH, fault)
    async with client.get(url) as response:
        assert "Content-Length" not in response.headers
        assert response.headers.get("Transfer-Encoding") == coding
        assert await response.read() == LAYER.data


async def test_chunked_body_that_is_cut(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.both(faults.chunked, faults.short_body(1000)))
    async with client.get(url) as response:
        assert await read_until_failure(response) == LAYER.data[:1000]
