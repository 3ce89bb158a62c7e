"""The whole mirror, started as `mirror serve` starts it, in front of the fake registry."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mirror.app import Mirror
from mirror.config import Config
from mirror.proxy import deadline
from mirror.proxy.interfaces.clock import Clock
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.joins import Joins


class RunningMirror:
    """A mirror that serves, and a client session for it."""

    def __init__(self, mirror: Mirror, session: aiohttp.ClientSession) -> None:
        self.mirror = mirror
        self.session = session

    @property
    def url(self) -> str:
        return f"http://{self.mirror.public.address}"

    @property
    def admin_url(self) -> str:
        return f"http://{self.mirror.admin.address}"

    async def get(self, path: str, method: str = "GET", **options: Any) -> tuple[aiohttp.ClientResponse, bytes]:
        """Return the answer to a request for `path`, and its whole body."""
        async with self.session.request(method, self.url + path, **options) as response:
            return response, await response.read()

    async def metric(self, series: str) -> float:
        """Return the value of a series, given as it stands on the metrics page."""
        async with self.session.get(f"{self.admin_url}/metrics", headers={"Accept-Encoding": "identity"}) as response:
            page = await response.text()
        for line in page.splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        raise LookupError(series)


StartMirror = Callable[..., AbstractAsyncContextManager[RunningMirror]]


@pytest.fixture
def start_mirror(registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path) -> StartMirror:
    """Start a mirror of the fake registry, which it takes for Docker Hub; keywords override sections."""

    @asynccontextmanager
    async def start(clock: Clock = time.time, **overrides: Any) -> AsyncIterator[RunningMirror]:
        content: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "drain_timeout": "5s",
            "cache": {"path": str(tmp_path / "cache")},
            # Else what upstream is asked would depend on how long a test takes.
            "warm": {"hot": False},
            # What is asked has been asked when the answer is there, except where a test is about that.
            "freshness": {"stale_while_revalidate": "0s"},
            "upstreams": {"docker.io": docker_io(registry, token_service)},
        }
        for key, value in overrides.items():
            content[key] = {**content[key], **value} if isinstance(content.get(key), dict) else value
        mirror = Mirror(Config(**content), clock)
        async with mirror.running(), aiohttp.ClientSession(auto_decompress=False) as session:
            yield RunningMirror(mirror, session)

    return start


def docker_io(registry: FakeRegistry, token_service: FakeTokenService) -> dict[str, Any]:
    """Return the configuration of an upstream that is the fake registry; it is asked for what clients ask for only."""
    return {
        "endpoints": [registry.url],
        "realms": [token_service.url],
        "private_network": True,
        "read_ahead": False,
    }


@pytest.fixture
async def mirror(start_mirror: StartMirror) -> AsyncIterator[RunningMirror]:
    """A running mirror with an empty cache."""
    async with start_mirror() as running:
        yield running


@pytest.fixture
def cache_folder(tmp_path: Path) -> CacheFolder:
    """The folder that `start_mirror` keeps its cache in."""
    return CacheFolder(tmp_path / "cache")


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> Joins:
    """How many requests have started or joined a fill."""
    return Joins(monkeypatch)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every deadline for an upstream is a fiftieth of what it is, so that none overtakes another."""
    for name, module in list(sys.modules.items()):
        if name.startswith("mirror.") and module is not deadline and hasattr(module, "answer_within"):
            monkeypatch.setattr(
                module,
                "answer_within",
                lambda seconds=deadline.ANSWER_WITHIN: deadline.answer_within(seconds / 50),
            )


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fill goes back to its upstream as often as always, and does not wait for long before."""
    monkeypatch.setattr("mirror.proxy.fills.retry.FIRST_PAUSE", 0.002)


@pytest.fixture
def undaunted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint is asked however often it has failed, and also when it wants to be left alone."""
    monkeypatch.setattr("mirror.upstream.health.breaker.THRESHOLD", 10**9)
    monkeypatch.setattr("mirror.proxy.limits.hold.HOLD_SECONDS", 0.0)
    monkeypatch.setattr("mirror.proxy.limits.hold.LONGEST_HOLD", 0.0)


@pytest.fixture
def forgetful(undaunted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """That upstream could not be asked is forgotten at once."""
    monkeypatch.setattr("mirror.proxy.failures.UNAVAILABLE_SECONDS", 0.0)


__all__ = ["Journal", "RunningMirror", "StartMirror"]
