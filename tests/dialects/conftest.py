"""The mirror in front of one dialect at a time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mirror.app import Mirror
from mirror.config import Config
from tests.contract.real_registry import EXECUTABLE
from tests.dialects import distribution
from tests.dialects.dialect import Dialect
from tests.dialects.site import Site
from tests.dialects.table import outcomes
from tests.fakes.journal import Journal
from tests.integration.conftest import RunningMirror

StartMirror = Callable[..., AbstractAsyncContextManager[RunningMirror]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note for the table how a test of a dialect went."""
    report = yield
    if isinstance(item, pytest.Function) and hasattr(item, "callspec") and report.when == "call":
        kind = item.callspec.params.get("kind")
        if isinstance(kind, type) and issubclass(kind, Dialect | distribution.Registry2):
            outcomes[kind.title, item.name] = report.passed
    return report


@pytest.fixture(scope="module")
def registry_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the real registry, which wants a password."""
    if not EXECUTABLE.exists():
        pytest.skip(f"{EXECUTABLE} (Debian package docker-registry) is not installed")
    with distribution.running(tmp_path_factory.mktemp("registry")) as port:
        yield port


@pytest.fixture
async def site(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Hosts under their real names; the test fails if any other is looked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    made = Site(journal, folder)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", lambda **_: made)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", made.trust)
    yield made
    assert made.strangers == []


@pytest.fixture
async def dialect(
    kind: type[Dialect], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Dialect]:
    """The registry of this row, running; helpers are found beside its files."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    made = kind(site, tmp_path)
    async with site:
        yield made


@pytest.fixture
def start_mirror(tmp_path: Path) -> StartMirror:
    """Start a mirror with these fields for an upstream of this name, and nothing cached."""

    @asynccontextmanager
    async def start(upstream: str, fields: dict[str, Any]) -> AsyncIterator[RunningMirror]:
        content: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "cache": {"path": str(tmp_path / "cache")},
            "upstreams": {upstream: fields},
        }
        mirror = Mirror(Config(**content))
        async with mirror.running(), aiohttp.ClientSession(auto_decompress=False) as session:
            yield RunningMirror(mirror, session)

    return start
