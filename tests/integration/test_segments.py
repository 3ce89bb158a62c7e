"""A large blob by several connections, through the whole mirror, from a registry that is slow and does as it likes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mirror.proxy.fills.segments import lanes, plan, segments, width
from tests.fakes import content
from tests.fakes.content import FakeBlob, FakeImage
from tests.fakes.faults import both, cut_at, healthy, rate, status, wrong_bytes
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.paths import path_of
from tests.integration.waiting import until, until_metric

MANIFEST = "/v2/library/alpine/manifests/1"
KIB = 1024
SIZE = 3 * 1024 * KIB
RATE = 2 * 1024 * KIB


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All lengths are smaller than they are, and it does not matter how busy this machine is."""
    monkeypatch.setattr(lanes, "LARGE", 1024 * KIB)
    monkeypatch.setattr(segments, "FIRST", 512 * KIB)
    monkeypatch.setattr(plan, "LEAST", 128 * KIB)
    monkeypatch.setattr(plan, "MOST", 256 * KIB)
    monkeypatch.setattr(width, "FIRST_LOOK", 128 * KIB)
    monkeypatch.setattr(width, "WAITING", 0.0)
    monkeypatch.setattr(width, "BUSY", 100.0)


@pytest.fixture
def image(registry: FakeRegistry) -> FakeImage:
    """An image of one layer, which comes slowly."""
    image = content.image(layers=1, size=SIZE)
    registry.add_image("library/alpine", "1", image)
    registry.always(path_of(image.layers[0]), rate(RATE))
    return image


@pytest.fixture
def upstreams(registry: FakeRegistry, token_service: FakeTokenService) -> dict[str, Any]:
    """The upstreams of a mirror that has heard of the length of the layer."""
    return {"docker.io": {**docker_io(registry, token_service), "read_ahead": True}}


async def pulled(mirror: RunningMirror, layer: FakeBlob, **headers: str) -> bytes:
    """Return the layer, or a part of it, once its manifest has been pulled."""
    await mirror.get(MANIFEST)
    response, body = await mirror.get(path_of(layer), headers=headers)
    assert response.status in (200, 206)
    return body


async def test_a_large_blob_comes_in_parts_each_byte_once(
    start_mirror: StartMirror, journal: Journal, cache_folder: CacheFolder, image: FakeImage, upstreams: dict[str, Any]
) -> None:
    [layer] = image.layers
    async with start_mirror(upstreams=upstreams) as mirror:
        assert await pulled(mirror, layer) == layer.data
        await until(cache_folder.file(layer.digest).exists, "the blob is committed")
    entries = journal.select("GET", path_of(layer))
    assert len(entries) > 3
    assert all(entry.range is not None and entry.status == 206 for entry in entries)
    assert journal.body_bytes(path_of(layer)) == SIZE


async def test_the_next_image_comes_in_parts_because_the_first_one_did(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    journal: Journal,
    image: FakeImage,
    upstreams: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    another = content.image(layers=1, size=SIZE)
    registry.add_image("library/alpine", "2", another)
    [first], [second] = image.layers, another.layers
    registry.always(path_of(second), rate(RATE))
    async with start_mirror(upstreams=upstreams) as mirror:
        assert await pulled(mirror, first) == first.data
        # By itself it could not be judged.
        monkeypatch.setattr(width, "FIRST_LOOK", 2 * SIZE)
        monkeypatch.setattr(width, "SOON", 0)
        await mirror.get(MANIFEST.replace("/1", "/2"))
        _, body = await mirror.get(path_of(second))
    assert body == second.data
    entries = journal.select("GET", path_of(second))
    # One after the other they would be of FIRST bytes, all but the last.
    assert len({entry.sent for entry in entries}) > 2
    assert journal.body_bytes(path_of(second)) == SIZE


async def test_readers_of_ranges_get_what_they_want_of_it(
    start_mirror: StartMirror, journal: Journal, image: FakeImage, upstreams: dict[str, Any]
) -> None:
    [layer] = image.layers
    async with start_mirror(upstreams=upstreams) as mirror:
        whole, middle, end = await asyncio.gather(
            pulled(mirror, layer),
            pulled(mirror, layer, Range="bytes=1000000-1999999"),
            pulled(mirror, layer, Range="bytes=-1000"),
        )
    assert (whole, middle, end) == (layer.data, layer.data[1000000:2000000], layer.data[-1000:])
    assert journal.body_bytes(path_of(layer)) == SIZE


async def test_a_registry_without_ranges_gives_it_in_one_piece(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, image: FakeImage, upstreams: dict[str, Any]
) -> None:
    [layer] = image.layers
    registry.supports_ranges = False
    async with start_mirror(upstreams=upstreams) as mirror:
        assert await pulled(mirror, layer) == layer.data
    [entry] = journal.select("GET", path_of(layer))
    assert entry.status == 200


@pytest.mark.parametrize("fault", ["cut", "throttled", "failed"])
async def test_a_part_that_goes_wrong_is_asked_for_again(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    journal: Journal,
    image: FakeImage,
    upstreams: dict[str, Any],
    undaunted: None,
    fault: str,
) -> None:
    [layer] = image.layers
    slow = rate(RATE)
    wrong = {"cut": both(slow, cut_at(64 * KIB)), "throttled": status(429), "failed": status(500)}[fault]
    registry.fault(path_of(layer), slow, wrong)
    async with start_mirror(upstreams=upstreams) as mirror:
        assert await pulled(mirror, layer) == layer.data
    sent = [entry.sent for entry in journal.select("GET", path_of(layer)) if entry.status == 206]
    assert sum(sent) == SIZE


async def test_a_blob_that_is_wrong_is_not_kept(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    cache_folder: CacheFolder,
    image: FakeImage,
    upstreams: dict[str, Any],
) -> None:
    [layer] = image.layers
    lie = FakeBlob(layer.digest, layer.data[:-1] + bytes([layer.data[-1] ^ 1]))
    registry.put_blob("library/alpine", lie)
    async with start_mirror(upstreams=upstreams) as mirror:
        await mirror.get(MANIFEST)
        with pytest.raises(Exception, match=r"payload|closed|reset|disconnected"):
            await mirror.get(path_of(layer))
        await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert not cache_folder.file(layer.digest).exists()


def of_parts(fault: Fault) -> Fault:
    """Spoil answers to ranges, and no others."""
    return lambda answer: fault(answer) if answer.status == 206 else answer


async def test_an_upstream_that_takes_ranges_amiss_is_asked_for_the_whole(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, image: FakeImage, upstreams: dict[str, Any]
) -> None:
    [layer] = image.layers
    registry.heal(path_of(layer))
    registry.always(path_of(layer), rate(RATE), of_parts(status(400)))
    async with start_mirror(upstreams=upstreams) as mirror:
        assert await pulled(mirror, layer) == layer.data
    assert [entry.status for entry in journal.select("GET", path_of(layer))] == [400, 200]


async def test_a_blob_whose_parts_are_wrong_comes_in_one_piece_the_next_time(
    start_mirror: StartMirror, registry: FakeRegistry, image: FakeImage, upstreams: dict[str, Any]
) -> None:
    [layer] = image.layers
    registry.heal(path_of(layer))
    registry.always(path_of(layer), rate(RATE), of_parts(wrong_bytes()))
    async with start_mirror(upstreams=upstreams) as mirror:
        await mirror.get(MANIFEST)
        with pytest.raises(Exception, match=r"payload|closed|reset|disconnected"):
            await mirror.get(path_of(layer))
        assert await pulled(mirror, layer) == layer.data


async def test_a_mirror_that_stops_leaves_a_prefix(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    journal: Journal,
    cache_folder: CacheFolder,
    image: FakeImage,
    upstreams: dict[str, Any],
) -> None:
    [layer] = image.layers
    registry.always(path_of(layer), rate(128 * KIB))
    async with start_mirror(upstreams=upstreams, drain_timeout="0s") as mirror:
        await mirror.get(MANIFEST)
        async with mirror.session.get(mirror.url + path_of(layer)) as response:
            assert response.status == 200
            await journal.wait_for(3, "GET", path_of(layer))
    # What is left is a prefix, without holes: the next one goes on behind it.
    left = cache_folder.partial(layer.digest).read_bytes()
    assert 0 < len(left) < SIZE
    assert layer.data.startswith(left)
    registry.always(path_of(layer), healthy)
    async with start_mirror(upstreams=upstreams) as mirror:
        assert await pulled(mirror, layer) == layer.data
    assert any(str(entry.range).startswith(f"bytes={len(left)}-") for entry in journal.entries)
