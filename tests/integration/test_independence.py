"""One slow disk, one slow client, one slow upstream: what is warm is answered all the same, by the same process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from mirror.store import files, reading
from mirror.store import folder as folder_module
from mirror.store.at_once import open_at_once
from mirror.store.folder import Folder
from tests.fakes import content
from tests.fakes.content import FakeBlob, FakeImage
from tests.fakes.faults import hold
from tests.fakes.gate import Gate
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder, all_of
from tests.integration.conftest import RunningMirror
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
MANY = 20
"""Requests that hang at once: more than there are threads for files."""


class Disk:
    """A disk that does not give one file: who opens it, or reads what is not in memory of it, waits for its turn."""

    def __init__(self) -> None:
        self._turns = threading.Event()
        self.unopened = ""
        """The name of the file that does not open."""
        self.unread = -1
        """The size of the file that opens, but is not in memory."""
        self.waiting = 0

    def in_memory(self, fd: int, start: int, stop: int) -> bool:
        return os.fstat(fd).st_size != self.unread and files.in_memory(fd, start, stop)

    def read_ahead(self, fd: int, start: int, stop: int) -> None:
        if os.fstat(fd).st_size == self.unread:
            self._wait()
        files.read_ahead(fd, start, stop)

    def open_at_once(self, name: str, flags: int, *, dir_fd: int) -> int:
        if name == self.unopened:
            raise BlockingIOError
        return open_at_once(name, flags, dir_fd=dir_fd)

    def opener(self) -> Callable[[Folder, str], tuple[int, int] | None]:
        """Return what stands in for `Folder.open`."""

        def open_or_wait(folder: Folder, name: str) -> tuple[int, int] | None:
            if name == self.unopened:
                self._wait()
            return _open(folder, name)

        return open_or_wait

    def _wait(self) -> None:
        self.waiting += 1
        assert self._turns.wait(60)

    def turn(self) -> None:
        """Give it from now on."""
        self._turns.set()


_open = Folder.open


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(folder_module, "can_tell", lambda _: True)
    monkeypatch.setattr(reading, "in_memory", disk.in_memory)
    monkeypatch.setattr(reading, "read_ahead", disk.read_ahead)
    monkeypatch.setattr(folder_module, "open_at_once", disk.open_at_once)
    monkeypatch.setattr(Folder, "open", disk.opener())
    yield disk
    disk.turn()


@pytest.fixture
def image(registry: FakeRegistry) -> FakeImage:
    image = content.image(layers=2, size=2 * MIB + 1)
    registry.add_image("library/alpine", "latest", image)
    return image


@pytest.fixture
def slow(registry: FakeRegistry) -> FakeBlob:
    blob = content.blob(5 * MIB)
    registry.put_blob("library/alpine", blob)
    return blob


@pytest.fixture
async def warm(mirror: RunningMirror, image: FakeImage, slow: FakeBlob, disk: Disk, cache_folder: CacheFolder) -> None:
    """Everything has been asked for before, on a disk that may stop."""
    await all_is_answered(mirror, image)
    await mirror.get(blob(slow.digest))
    await until(lambda: cache_folder.digests() == {*all_of(image), slow.digest}, "all of it is committed")
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    await all_is_answered(mirror, image)


def blob(digest: str) -> str:
    return f"/v2/library/alpine/blobs/{digest}"


async def all_is_answered(mirror: RunningMirror, image: FakeImage) -> None:
    for reference in ("latest", image.digest):
        assert (await mirror.get(f"/v2/library/alpine/manifests/{reference}"))[1] == image.manifest.data
    for layer in image.blobs:
        assert (await mirror.get(blob(layer.digest)))[1] == layer.data


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("what", ["opens", "reads"])
async def test_a_disk_that_does_not_answer_for_one_file_stops_nothing_that_isin_memory(
    mirror: RunningMirror, image: FakeImage, slow: FakeBlob, disk: Disk, what: str
) -> None:
    if what == "opens":
        disk.unopened = slow.digest.partition(":")[2]
    else:
        disk.unread = len(slow.data)
    stuck = [asyncio.create_task(mirror.get(blob(slow.digest))) for _ in range(MANY)]
    await until(lambda: disk.waiting >= 8, "every thread that reads waits for the disk")

    await all_is_answered(mirror, image)

    assert not any(one.done() for one in stuck)
    disk.turn()
    assert all(body == slow.data for _, body in await asyncio.gather(*stuck))


@pytest.mark.usefixtures("warm")
async def test_clients_that_take_nothing_stop_nothing(mirror: RunningMirror, image: FakeImage, slow: FakeBlob) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(MANY):
            client = await stack.enter_async_context(raw_client(mirror, 4096))
            await client.ask(blob(slow.digest))
            assert (await client.head()).status == 200
        await all_is_answered(mirror, image)


@pytest.mark.usefixtures("warm")
async def test_an_upstream_that_does_not_answer_stops_nothing(
    registry: FakeRegistry, mirror: RunningMirror, image: FakeImage
) -> None:
    gate = Gate()
    stuck = []
    for number in range(MANY):
        cold = content.blob(1000, f"cold {number}")
        registry.put_blob("library/alpine", cold)
        registry.always(blob(cold.digest), hold(gate))
        stuck.append(asyncio.create_task(mirror.get(blob(cold.digest))))
    await gate.reached()

    await all_is_answered(mirror, image)

    assert not any(one.done() for one in stuck)
    gate.open()
    assert {response.status for response, _ in await asyncio.gather(*stuck)} == {200}
