"""Upstreams that there is no talking to: no name, no connection, no TLS that can be trusted."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.command import configuration, serving
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.tls import server_context, trusting

IMAGE = content.image(layers=1)
LAYER = IMAGE.layers[0]
TAG = "/v2/library/alpine/manifests/3.20"
PATHS = (TAG, f"/v2/library/alpine/manifests/{IMAGE.digest}", f"/v2/library/alpine/blobs/{LAYER.digest}")

pytestmark = pytest.mark.usefixtures("impatient", "quick_retries", "forgetful")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is given up within a moment."""
    monkeypatch.setattr("mirror.upstream.egress.CONNECT_SECONDS", 0.2)


# No name. --------------------------------------------------------------------------------------------------


class Names(AbstractResolver):
    """Names of which nothing can be learned: `trouble` is what happens to who asks."""

    def __init__(self, trouble: OSError | None) -> None:
        self._trouble = trouble

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        if self._trouble is None:
            await asyncio.get_running_loop().create_future()
        raise self._trouble or OSError

    async def close(self) -> None:
        pass


NAMES = {
    "U33 no such name": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "U33 the name server fails": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "U33 the name server says nothing": None,
}


@pytest.mark.parametrize("trouble", NAMES.values(), ids=NAMES)
async def test_a_name_that_is_not_to_be_had(
    start_mirror: StartMirror, monkeypatch: pytest.MonkeyPatch, trouble: OSError | None
) -> None:
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", lambda **_: Names(trouble))
    upstream = {"endpoints": ["http://registry.invalid"], "private_network": True}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        await is_clean_error(mirror)


# No connection. --------------------------------------------------------------------------------------------


@asynccontextmanager
async def refusing() -> AsyncIterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@asynccontextmanager
async def swallowing() -> AsyncIterator[int]:
    """A port whose queue is full: whoever connects hears nothing."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            assert client.connect_ex(full.getsockname()) == errno.EINPROGRESS
        yield full.getsockname()[1]


@asynccontextmanager
async def mute() -> AsyncIterator[int]:
    """A port that takes connections and says nothing."""
    opened: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: opened.append(writer), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in opened:
            writer.close()


PORTS: dict[str, tuple[str, Callable[[], AbstractAsyncContextManager[int]]]] = {
    "U34 refused": ("http", refusing),
    "U34 refused with TLS": ("https", refusing),
    "U34 no answer to a SYN": ("http", swallowing),
    "U34 no answer to a SYN with TLS": ("https", swallowing),
    "U35 no answer to a handshake": ("https", mute),
}


@pytest.mark.parametrize(("scheme", "port"), PORTS.values(), ids=PORTS)
async def test_a_connection_that_is_not_to_be_had(
    start_mirror: StartMirror, scheme: str, port: Callable[[], AbstractAsyncContextManager[int]]
) -> None:
    async with port() as number:
        upstream = {"endpoints": [f"{scheme}://127.0.0.1:{number}"], "private_network": True}
        async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
            await is_clean_error(mirror)


@pytest.mark.parametrize(("scheme", "port"), PORTS.values(), ids=PORTS)
async def test_the_next_endpoint_is_asked_instead(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    scheme: str,
    port: Callable[[], AbstractAsyncContextManager[int]],
) -> None:
    registry.add_image("library/alpine", "3.20", IMAGE)
    async with port() as number:
        endpoints = [f"{scheme}://127.0.0.1:{number}", registry.url]
        upstream = {"endpoints": endpoints, "private_network": True}
        async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
            for path in PATHS:
                response, _ = await mirror.get(path)
                assert response.status == 200


async def is_clean_error(mirror: RunningMirror) -> None:
    """Fail unless everything is an error that comes soon and tells who is at fault."""
    for path in PATHS:
        started = time.monotonic()
        response, body = await mirror.get(path)
        assert response.status in {502, 504}
        assert error_code(body) == "UNAVAILABLE"
        assert time.monotonic() - started < 3
    assert await mirror.metric("mirror_fills_in_flight") == 0


# No TLS. ---------------------------------------------------------------------------------------------------


def outdated(folder: Path) -> ssl.SSLContext:
    """A server that knows no TLS but an old one."""
    context = server_context(folder)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def expired(folder: Path) -> ssl.SSLContext:
    """A server whose certificate has ended."""
    return server_context(folder, lasts=-timedelta(hours=1))


TLS = {
    "in order": ("127.0.0.1", server_context, 200),
    "U35 another name": ("localhost", server_context, 502),
    "U35 expired": ("127.0.0.1", expired, 502),
    "U35 TLS 1.1": ("127.0.0.1", outdated, 502),
}


@pytest.mark.parametrize(("host", "tls", "status"), TLS.values(), ids=TLS)
async def test_tls_that_is_not_to_be_trusted(
    journal: Journal,
    token_service: FakeTokenService,
    tmp_path: Path,
    host: str,
    tls: Callable[[Path], ssl.SSLContext],
    status: int,
) -> None:
    async with FakeRegistry(journal, name="secure", tls=tls(tmp_path)) as secure:
        secure.add_image("library/alpine", "3.20", IMAGE)
        upstream = {"endpoints": [f"https://{host}:{secure.port}"], "private_network": True}
        config = configuration(secure, token_service, tmp_path, upstreams={"docker.io": upstream})
        async with serving(config, tmp_path, trusting(tmp_path)) as mirror:
            for path in PATHS:
                response, _ = await mirror.get(path)
                assert response.status == status
    assert bool(journal.entries) is (status == 200)
