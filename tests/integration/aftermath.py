"""What must be as before after any fault: nothing is left running or open, what is kept is right, others are served."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror
from tests.integration.raw_http import RawAnswer, raw_client, request
from tests.integration.waiting import until, until_metric

UNRELATED = content.blob(100_000, "unrelated")
UNRELATED_PATH = f"/v2/somebody/else/blobs/{UNRELATED.digest}"

_OF_A_BLOB = re.compile(r"/memfd:passage|/partial/.|/blobs/[^/]+/.|/run/sha")


async def ask_pipelined(mirror: RunningMirror, path: str, **headers: str) -> RawAnswer:
    """Ask on a connection of one's own, a second request right behind: what comes must still be one answer.

    A whole answer is followed by that to the second request, a cut one by nothing.
    """
    async with raw_client(mirror) as client:
        await client.send(request(path, **headers) + request("/v2/"))
        answer = await client.answer()
        if answer.whole:
            assert (await client.answer()).body == b"{}"
        return answer


class Aftermath:
    """Looks at a mirror once nobody asks it for anything any more."""

    def __init__(self, mirror: RunningMirror, registry: FakeRegistry, folder: CacheFolder) -> None:
        self._mirror = mirror
        self._registry = registry
        self._folder = folder
        self.unfinished: set[str] = set()
        """Digests whose partial files are to be there for who asks next."""

    async def begin(self) -> None:
        """Have somebody else's blob in the cache."""
        self._registry.put_blob("somebody/else", UNRELATED)
        # On a busy machine it may take longer than a mirror waits that was made impatient.
        async with asyncio.timeout(45):
            while (await ask_pipelined(self._mirror, UNRELATED_PATH)).body != UNRELATED.data:  # noqa: ASYNC110  # it asks
                await asyncio.sleep(0.05)
        await until_metric(self._mirror, "mirror_fills_in_flight", 0)

    async def check(self) -> None:
        """Fail if anything is left of what went before, or harmed by it."""
        await until_metric(self._mirror, "mirror_fills_in_flight", 0)
        await until(lambda: not tasks_of_fills(), "no task of a fill is left", explain=tasks_of_fills)
        await until(lambda: not descriptors_of_blobs(), "no file is left open", explain=descriptors_of_blobs)
        await until(lambda: self._left() == self._expected(), "nothing partial is left", explain=self._left)
        assert wrong_files(self._folder) == []
        answer = await ask_pipelined(self._mirror, UNRELATED_PATH)
        assert (answer.head.headers["cache-status"], answer.body) == ("mirror; hit", UNRELATED.data)
        await until_metric(self._mirror, "mirror_connections", 0)

    def _expected(self) -> set[str]:
        names = {digest.replace(":", "-") for digest in self.unfinished}
        return {f"{folder}/{name}" for folder in ("partial", "run") for name in names}

    def _left(self) -> set[str]:
        # What else is in `run/` is not about any blob.
        found = {f"partial/{name}" for name in self._folder.partials()}
        return found | {f"run/{file.name}" for file in (self._folder.path / "run").glob("sha*")}


def tasks_of_fills() -> list[str]:
    """Names of the tasks that the mirror has for fills and look-ups."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("fill ")]


def descriptors_of_blobs() -> list[str]:
    """What of blobs, whole, growing or passing through, this process has open."""
    return [target for target in _targets() if _OF_A_BLOB.search(target)]


def _targets() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            yield os.readlink(descriptor)
        except FileNotFoundError:
            continue


def wrong_files(folder: CacheFolder) -> list[str]:
    """Names under `blobs/` of files whose bytes have another digest."""
    return [
        file.name
        for file in folder.path.glob("blobs/*/*")
        if hashlib.new(file.parent.name, file.read_bytes()).hexdigest() != file.name
    ]


@asynccontextmanager
async def unharmed(mirror: RunningMirror, registry: FakeRegistry, folder: CacheFolder) -> AsyncIterator[Aftermath]:
    """Have something happen to the mirror within this context, and make sure that it leaves no trace."""
    aftermath = Aftermath(mirror, registry, folder)
    await aftermath.begin()
    yield aftermath
    await aftermath.check()
