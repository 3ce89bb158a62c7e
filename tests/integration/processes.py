"""Several `mirror serve` on one cache folder, each in a process of its own, as operators run them side by side."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mirror.store import pages
from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import Serving, configuration, serving
from tests.integration.paths import path_of
from tests.integration.raw_http import RawAnswer, RawClient, raw_client
from tests.integration.waiting import until

MIB = 1024 * 1024
REPOSITORY = "library/alpine"


class Mirrors:
    """Starts mirrors that share `folder`/cache; `start` again after a kill is a restart."""

    def __init__(self, registry: FakeRegistry, tokens: FakeTokenService, folder: Path, stack: AsyncExitStack) -> None:
        self._registry = registry
        self._tokens = tokens
        self._folder = folder
        self._stack = stack
        self._started = 0
        self.cache = CacheFolder(folder / "cache")

    async def start(self, count: int = 2, **overrides: Any) -> list[Serving]:
        """Start that many at the same instant, and wait until all listen; keywords override sections."""
        return await asyncio.gather(*(self._start(overrides) for _ in range(count)))

    async def _start(self, overrides: dict[str, Any]) -> Serving:
        self._started += 1
        folder = self._folder / f"process-{self._started}"
        folder.mkdir()
        cache = {"path": str(self.cache.path), "min_free": "1MiB", **overrides.get("cache", {})}
        config = configuration(self._registry, self._tokens, self._folder, **{**overrides, "cache": cache})
        return await self._stack.enter_async_context(serving(config, folder))


@asynccontextmanager
async def mirrors_of(registry: FakeRegistry, tokens: FakeTokenService, folder: Path) -> AsyncIterator[Mirrors]:
    """Whatever is started within this context is dead at its end."""
    async with AsyncExitStack() as stack:
        yield Mirrors(registry, tokens, folder, stack)


@pytest.fixture
async def mirrors(registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path) -> AsyncIterator[Mirrors]:
    """No process yet, and an empty folder."""
    async with mirrors_of(registry, token_service, tmp_path) as started:
        yield started


async def kill(mirror: Serving) -> None:
    """Kill it as the kernel does, and see it dead."""
    mirror.process.kill()
    await mirror.process.wait()


def put(registry: FakeRegistry, size: int, seed: object = 0, repository: str = REPOSITORY) -> FakeBlob:
    """Have upstream hold a blob of this size."""
    blob = content.blob(size, seed)
    registry.put_blob(repository, blob)
    return blob


async def pull(mirror: Serving, blob: FakeBlob) -> str:
    """Pull a blob, which comes whole and right; return its Cache-Status."""
    response, body = await mirror.get(path_of(blob))
    assert response.status == 200, (response.status, body[:500])
    assert content.digest_of(body) == blob.digest
    return response.headers["Cache-Status"]


async def committed(cache: CacheFolder, *blobs: FakeBlob) -> None:
    """Wait until these blobs are at rest."""
    for blob in blobs:
        await until(cache.file(blob.digest).exists, "the blob is committed")


async def written(cache: CacheFolder, blob: FakeBlob, size: int) -> None:
    """Wait until the writer of a blob has noted so many bytes of it: the next one goes on behind them."""
    note = cache.path / "run" / cache.partial(blob.digest).name

    def noted() -> int:
        page = pages.unpack(note.read_bytes()) if note.exists() else None
        return 0 if page is None else page.prefix

    await until(lambda: noted() >= size, f"{size} bytes are on disk")


class Reading:
    """A client in the middle of a blob."""

    def __init__(self, client: RawClient, blob: FakeBlob) -> None:
        self._client = client
        self._blob = blob
        self._hash = hashlib.sha256()
        self._read = 0

    async def up_to(self, offset: int) -> None:
        """Read on to this byte; raises Cut if it does not come."""
        await self._client.pour(offset - self._read, self._hash.update)
        self._read = offset

    async def comes_whole(self) -> bool:
        """Read to the end, and tell whether every byte was right."""
        await self.up_to(self._blob.size)
        return f"sha256:{self._hash.hexdigest()}" == self._blob.digest

    async def rest(self) -> RawAnswer:
        """Read what comes until the end of the connection; what came before is left out."""
        return RawAnswer(self._head, await self._client.rest(), whole=False)

    async def begin(self) -> None:
        """Ask, and read the head."""
        await self._client.ask(path_of(self._blob))
        self._head = await self._client.head()
        assert self._head.status == 200, self._head
        assert self._head.length == self._blob.size


@asynccontextmanager
async def reading(blob: FakeBlob, *mirrors: Serving) -> AsyncIterator[list[Reading]]:
    """One client for each of these mirrors, all with the head of their answer."""
    async with AsyncExitStack() as stack:
        readers = [
            Reading(await stack.enter_async_context(raw_client(mirror.address("public"))), blob) for mirror in mirrors
        ]
        await asyncio.gather(*(reader.begin() for reader in readers))
        yield readers
