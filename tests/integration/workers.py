"""A `mirror serve` with several workers, and clients who know which of them they talk to."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import Serving, configuration, serving, write
from tests.integration.raw_http import RawAnswer, RawClient, raw_client
from tests.integration.waiting import until

_PTRACE_ATTACH = 16
_PTRACE_DETACH = 17
_OF_ALL_THREADS = 0x40000000


class Crew:
    """A supervisor and its workers."""

    def __init__(self, mirror: Serving, folder: Path, config: dict[str, Any], stack: AsyncExitStack) -> None:
        self.mirror = mirror
        self.folder = folder
        self.config = config
        self.cache = CacheFolder(folder / "cache")
        self._stack = stack

    async def client(self, worker: int) -> RawClient:
        """Return a connection that this worker has."""
        for _ in range(100):
            client = await self._stack.enter_async_context(raw_client(self.mirror.address("public")))
            if await self.worker_of(client) == worker:
                return client
        raise AssertionError(f"no connection came to worker {worker}")

    async def worker_of(self, client: RawClient) -> int:
        """Return which worker has a connection."""
        name = secrets.token_hex(8)
        await client.ask("/v2/", User_Agent=name)
        assert (await client.answer()).head.status == 200
        [line] = await self.mirror.logged(lambda line: name in line)
        found = re.search(r"\bworker=(\d+)", line)
        assert found is not None, line
        return int(found[1])

    async def ask(self, worker: int, path: str, **headers: str) -> RawAnswer:
        """Return what a worker answers."""
        client = await self.client(worker)
        await client.ask(path, **headers)
        return await client.answer()

    def pids(self) -> list[int]:
        """Return the processes of the workers."""
        return children(self.mirror.process.pid)

    async def metric(self, series: str) -> float:
        """Return the value of a series, given as it stands on the metrics page."""
        page = await self.page()
        return page[series]

    async def page(self) -> dict[str, float]:
        """Return all series there are."""
        url, plain = f"http://{self.mirror.address('admin')}/metrics", {"Accept-Encoding": "identity"}
        async with self.mirror.session.get(url, headers=plain) as response:
            assert response.status == 200
            text = await response.text()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def configure(self, **overrides: Any) -> None:
        """Write other values into the file that the mirror was started with."""
        write({**self.config, **overrides}, self.folder)


Start = Callable[..., AbstractAsyncContextManager[Crew]]


@pytest.fixture
def start_workers(registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path) -> Start:
    """Start a mirror of two workers in front of the fake registry; keywords override sections."""

    @asynccontextmanager
    async def start(**overrides: Any) -> AsyncIterator[Crew]:
        config = configuration(registry, token_service, tmp_path, **{"workers": 2, "drain_timeout": "45s", **overrides})
        async with serving(config, tmp_path) as mirror, AsyncExitStack() as stack:
            crew = Crew(mirror, tmp_path, config, stack)
            pids = crew.pids()
            yield crew
        await until(lambda: not any(map(lives, pids)), "no worker is left behind")

    return start


@pytest.fixture
async def crew(start_workers: Start) -> AsyncIterator[Crew]:
    """Two workers, with an empty cache."""
    async with start_workers() as started:
        yield started


def children(pid: int) -> list[int]:
    """Return the children of a process that are alive, in the order in which they were started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(child) for child in listed if lives(int(child))]


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """Hold a process as a debugger does, within this context."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    assert ptrace(_PTRACE_ATTACH, pid, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(pid, _OF_ALL_THREADS)
    try:
        yield
    finally:
        assert ptrace(_PTRACE_DETACH, pid, None, None) == 0, os.strerror(ctypes.get_errno())
