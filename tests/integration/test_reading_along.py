"""Two mirrors on one folder: what the disk refuses to the one that fetches, and what clients of the other get."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator

import pytest

from mirror.store import files
from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.byteranges import Part, parts_of
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.paths import path_of
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until

SIZE = 4 * 1024 * 1024
HALF = SIZE // 2


@pytest.fixture
async def other(mirror: RunningMirror, start_mirror: StartMirror) -> AsyncIterator[RunningMirror]:
    """A second mirror on the folder of the first; file locks keep them apart as they do two processes."""
    async with start_mirror() as running:
        yield running


@pytest.fixture
def gate(registry: FakeRegistry, blob: FakeBlob) -> Gate:
    """Upstream sends half of the blob, and the rest once this is open."""
    gate = Gate()
    registry.fault(path_of(blob), stop_at(HALF, gate))
    return gate


@pytest.fixture
def blob(registry: FakeRegistry) -> FakeBlob:
    blob = content.blob(SIZE)
    registry.put_blob("library/alpine", blob)
    return blob


async def both_get(blob: FakeBlob, gate: Gate, *mirrors: RunningMirror) -> bool:
    """Tell whether clients of two mirrors, in the middle of the blob when `gate` opens, get all of it."""
    async with raw_client(mirrors[0]) as first, raw_client(mirrors[1]) as second:
        for client in (first, second):
            await client.ask(path_of(blob))
            assert (await client.head()).status == 200
        gate.open()
        return all([await client.exactly(SIZE) == blob.data for client in (first, second)])


async def test_a_commit_that_fails_cuts_nobody(
    mirror: RunningMirror,
    other: RunningMirror,
    cache_folder: CacheFolder,
    blob: FakeBlob,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "seal", fail)
    assert await both_get(blob, gate, mirror, other)
    await until(lambda: cache_folder.partials() == [], "the file is discarded")
    assert cache_folder.digests() == set()


async def test_a_disk_that_fills_up_cuts_nobody(
    mirror: RunningMirror,
    other: RunningMirror,
    blob: FakeBlob,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = files.write_at

    def write_at(fd: int, data: bytes, offset: int) -> None:
        if offset > HALF:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(fd, data, offset)

    monkeypatch.setattr("mirror.store.partial.files.write_at", write_at)
    assert await both_get(blob, gate, mirror, other)


async def test_parts_of_what_the_other_fetches(
    mirror: RunningMirror, other: RunningMirror, journal: Journal, blob: FakeBlob, gate: Gate
) -> None:
    async with raw_client(mirror) as fetches, raw_client(other) as reads_along:
        await fetches.ask(path_of(blob))
        assert (await fetches.head()).status == 200
        await reads_along.ask(path_of(blob), Range=f"bytes=10-{HALF // 2},{HALF - 5}-{HALF + 5},-1")
        head = await reads_along.head()
        gate.open()
        body = await reads_along.exactly(head.length)
        assert await fetches.exactly(SIZE) == blob.data
    spans = [(10, HALF // 2 + 1), (HALF - 5, HALF + 6), (SIZE - 1, SIZE)]
    assert parts_of(head.headers, body) == [Part(start, blob.data[start:stop], SIZE) for start, stop in spans]
    assert journal.count("GET") == 1
