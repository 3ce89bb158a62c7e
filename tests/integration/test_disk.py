"""Disks that are full, read-only or out of names: clients have their bytes all the same, and it heals by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from tests.fakes import content
from tests.fakes.faults import both, cut_at, stop_at, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.aftermath import UNRELATED, Aftermath, ask_pipelined, unharmed
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.mounts import fill_up, immutable, make_read_only, small_disk, use_up_names
from tests.integration.paths import path_of
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
DISK = 48 * MIB
COLD = content.blob(8 * MIB, "cold")
IMAGE = content.image(layers=1)
TAG = "/v2/library/alpine/manifests/1.0"
UPSTREAM_BYTES = 'mirror_upstream_bytes_total{upstream="docker.io"}'

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture(autouse=True)
def upstream(registry: FakeRegistry) -> None:
    registry.add_image("library/alpine", "1.0", IMAGE)
    registry.put_blob("library/alpine", COLD)


@pytest.fixture
def disk(cache_folder: CacheFolder) -> Iterator[Path]:
    """A disk of its own for the cache folder."""
    with small_disk(cache_folder.path, f"size={DISK},nr_inodes=300") as path:
        yield path


@pytest.fixture
async def small(disk: Path, start_mirror: StartMirror) -> AsyncIterator[RunningMirror]:
    """A mirror that would fill that disk to its last byte."""
    async with start_mirror(cache={"min_free": "1B"}) as mirror:
        yield mirror


@pytest.fixture
async def aftermath(
    small: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> AsyncIterator[Aftermath]:
    async with unharmed(small, registry, cache_folder) as after:
        registry.journal.clear()
        yield after


async def degraded(mirror: RunningMirror) -> list[str]:
    """What is not as it should be, by a mirror that must be ready."""
    async with mirror.session.get(f"{mirror.admin_url}/readyz") as response:
        body = json.loads(await response.read())
        assert (response.status, body["status"]) == (200, "ready")
        found: list[str] = body["degraded"]
        return found


@contextmanager
def full(disk: Path) -> Iterator[None]:
    balloon = fill_up(disk)
    yield
    balloon.unlink()


@contextmanager
def without_names(disk: Path) -> Iterator[None]:
    files = use_up_names(disk)
    yield
    for file in files:
        file.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    with immutable(disk / "partial"), immutable(disk / "blobs" / "sha256"):
        yield


Trouble = Callable[[Path], AbstractContextManager[None]]
TROUBLES = pytest.mark.parametrize("trouble", [full, without_names, read_only])


@TROUBLES
async def test_a_disk_in_trouble_costs_upstream_requests_and_clients_nothing(
    registry: FakeRegistry,
    journal: Journal,
    small: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    disk: Path,
    trouble: Trouble,
) -> None:
    warm = content.blob(MIB, "warm")
    registry.put_blob("library/alpine", warm)
    await ask_pipelined(small, path_of(warm))
    await until_metric(small, "mirror_fills_in_flight", 0)
    kept = cache_folder.digests()

    with trouble(disk):
        gate = Gate()
        registry.fault(path_of(COLD), stop_at(0, gate))
        readers = [asyncio.create_task(ask_pipelined(small, path_of(COLD))) for _ in range(5)]
        await gate.reached()
        gate.open()
        for answer in await asyncio.gather(*readers):
            assert (answer.whole, answer.body == COLD.data) == (True, True)
            assert "stored" not in answer.head.headers["cache-status"]
        assert journal.body_bytes(path_of(COLD)) == COLD.size
        assert (await ask_pipelined(small, path_of(warm))).head.headers["cache-status"] == "mirror; hit"
        answer = await ask_pipelined(small, TAG)
        assert (answer.head.status, answer.body) == (200, IMAGE.manifest.data)
        assert await degraded(small)
        assert await small.metric('mirror_degraded{trouble="unwritable"}') == 1
        await until_metric(small, "mirror_fills_in_flight", 0)
        # Nothing had to go for what could not be kept anyway.
        assert cache_folder.digests() == kept

    assert await degraded(small) == []
    for _ in range(2):
        answer = await ask_pipelined(small, path_of(COLD))
        assert answer.body == COLD.data
        await until(lambda: COLD.digest in cache_folder.digests(), "it is kept now")
    assert answer.head.headers["cache-status"] == "mirror; hit"


@pytest.mark.parametrize("then", ["goes on", "is cut", "is wrong"])
async def test_a_disk_that_fills_up_during_a_fill(
    registry: FakeRegistry,
    journal: Journal,
    small: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    disk: Path,
    then: str,
) -> None:
    half, later, beyond = Gate(), Gate(), 4 * MIB + 500_000
    stops = both(stop_at(4 * MIB, half), stop_at(beyond, later))
    faults = {"goes on": stops, "is cut": both(stops, cut_at(beyond)), "is wrong": both(stops, wrong_bytes(-1))}
    registry.fault(path_of(COLD), faults[then])
    readers = [asyncio.create_task(ask_pipelined(small, path_of(COLD))) for _ in range(3)]
    await half.reached()
    partial = cache_folder.partial(COLD.digest)
    await until(lambda: partial.exists() and partial.stat().st_size == 4 * MIB, "half of it is on disk")
    with full(disk):
        half.open()
        await until(lambda: cache_folder.partials() == [], "what cannot be completed takes no space")
        await later.reached()
        await until_metric(small, UPSTREAM_BYTES, beyond + UNRELATED.size)
        # Who comes now has the first bytes from disk, and the others from memory.
        readers.append(asyncio.create_task(ask_pipelined(small, path_of(COLD))))
        await until_metric(small, "mirror_connections", 4)
        later.open()
        for answer in await asyncio.gather(*readers):
            assert answer.whole is (then != "is wrong")
            assert COLD.data.startswith(answer.body)
        assert journal.count("GET", path_of(COLD)) == (2 if then == "is cut" else 1)
        assert journal.body_bytes(path_of(COLD)) == COLD.size
    await until_metric(small, "mirror_fills_in_flight", 0)
    assert COLD.digest not in cache_folder.digests()
    assert (await ask_pipelined(small, path_of(COLD))).body == COLD.data
    await until(lambda: COLD.digest in cache_folder.digests(), "it is kept now")


async def test_some_of_the_disk_is_left_to_others(
    registry: FakeRegistry, disk: Path, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blobs = [content.blob(6 * MIB, number) for number in range(5)]
    for blob in blobs:
        registry.put_blob("library/alpine", blob)
    evicted = 'mirror_evictions_total{reason="disk"}'
    # Four of them fit, and what the indexes take.
    async with start_mirror(cache={"min_free": "20MiB"}) as mirror:
        for number, blob in enumerate(blobs):
            assert (await ask_pipelined(mirror, path_of(blob))).body == blob.data
            await until_metric(mirror, "mirror_fills_in_flight", 0)
            assert await mirror.metric(evicted) == (1 if number == 4 else 0)
        assert cache_folder.digests() == {blob.digest for blob in blobs[1:]}
        assert await degraded(mirror) == []

        balloon = fill_up(disk, leave=8 * MIB)
        assert await degraded(mirror)
        assert await mirror.metric('mirror_degraded{trouble="disk_short"}') == 1
        # Others have taken more than half of the cache would give back: it stays as it is.
        assert (await ask_pipelined(mirror, path_of(COLD))).body == COLD.data
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        assert cache_folder.digests() == {blob.digest for blob in blobs[1:]}
        assert (await ask_pipelined(mirror, path_of(blobs[4]))).head.headers["cache-status"] == "mirror; hit"
        balloon.unlink()
        assert await degraded(mirror) == []
        assert (await ask_pipelined(mirror, path_of(COLD))).body == COLD.data
        await until(lambda: COLD.digest in cache_folder.digests(), "it is kept now")


@pytest.mark.parametrize("trouble", [full, without_names])
async def test_a_start_on_a_disk_in_trouble(
    disk: Path, start_mirror: StartMirror, cache_folder: CacheFolder, trouble: Trouble
) -> None:
    async with start_mirror(cache={"min_free": "1B"}) as mirror:
        assert (await ask_pipelined(mirror, path_of(COLD))).body == COLD.data
        await until(lambda: COLD.digest in cache_folder.digests(), "it is kept")
    with trouble(disk):
        async with start_mirror(cache={"min_free": "1B"}) as mirror:
            answer = await ask_pipelined(mirror, path_of(COLD))
            assert (answer.head.status, answer.body) == (200, COLD.data)
            assert await degraded(mirror)


async def test_a_start_on_a_disk_that_takes_no_writes_says_so(disk: Path, start_mirror: StartMirror) -> None:
    make_read_only(disk)
    with pytest.raises(ConfigError) as refused:
        async with start_mirror():
            pass
    assert refused.value.key == "cache.path"
    assert str(disk) in str(refused.value)
