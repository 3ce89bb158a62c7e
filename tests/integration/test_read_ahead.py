"""Read-ahead: what a manifest names is begun before a client asks for it, and comes to little if none does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob, FakeImage
from tests.fakes.faults import hold, stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.paths import path_of
from tests.integration.processes import MIB, Mirrors, mirrors, pull
from tests.integration.steering import done
from tests.integration.waiting import until, until_metric

MANIFEST = "/v2/library/alpine/manifests/1"
SIZE = 16 * MIB
"""More than fits into the buffers of a connection that nobody reads."""

__all__ = ["mirrors"]


@pytest.fixture
def image(registry: FakeRegistry) -> FakeImage:
    """An image of three large layers, with the tag 1."""
    image = content.image(layers=3, size=SIZE)
    registry.add_image("library/alpine", "1", image)
    registry.absent("/v2/library/alpine/manifests/0")
    return image


@pytest.fixture
def ahead(registry: FakeRegistry, token_service: FakeTokenService) -> dict[str, Any]:
    """The upstreams of a mirror that reads ahead."""
    return {"docker.io": {**docker_io(registry, token_service), "read_ahead": True}}


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for for long."""
    monkeypatch.setattr("mirror.proxy.fills.hold.HOLD_SECONDS", 0.3)


async def get_manifest(mirror: RunningMirror, method: str = "GET", reference: str = "1") -> None:
    response, _ = await mirror.get(f"/v2/library/alpine/manifests/{reference}", method)
    assert response.status == 200


async def outcome(mirror: RunningMirror, name: str) -> float:
    return await mirror.metric(f'mirror_read_ahead_total{{outcome="{name}",upstream="docker.io"}}')


async def until_outcome(mirror: RunningMirror, name: str, count: int) -> None:
    await until_metric(mirror, f'mirror_read_ahead_total{{outcome="{name}",upstream="docker.io"}}', count)


async def time_goes_by(mirror: RunningMirror) -> None:
    """Let the mirror do so much that what it does by itself has been begun."""
    for _ in range(20):
        assert (await mirror.get("/v2/library/alpine/manifests/0"))[0].status == 404


def asked_for(journal: Journal, *blobs: FakeBlob) -> list[int]:
    """How often upstream was asked for each of these."""
    return [journal.count("GET", path_of(blob)) for blob in blobs]


@pytest.mark.parametrize("is_asked_before", [False, True], ids=["at once", "after a HEAD"])
async def test_blobs_are_asked_for_before_the_client_does_and_once(
    start_mirror: StartMirror, journal: Journal, image: FakeImage, ahead: dict[str, Any], is_asked_before: bool
) -> None:
    async with start_mirror(upstreams=ahead) as mirror:
        if is_asked_before:
            await get_manifest(mirror, "HEAD")
            assert asked_for(journal, *image.blobs) == [0] * 4
        await get_manifest(mirror)
        await journal.wait_for(4, "GET", "/v2/library/alpine/blobs/*")
        for blob in image.blobs:
            response, body = await mirror.get(path_of(blob))
            assert (response.status, body) == (200, blob.data)
        await get_manifest(mirror)
        await until_outcome(mirror, "claimed", 4 - int(await outcome(mirror, "early")))
        assert await outcome(mirror, "let_go") == 0
    assert journal.body_bytes("/v2/library/alpine/blobs/*") == sum(blob.size for blob in image.blobs)


async def test_the_first_who_comes_caused_the_fill_as_far_as_it_is_told(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, image: FakeImage, ahead: dict[str, Any]
) -> None:
    gate = Gate()
    layer = image.layers[0]
    registry.fault(path_of(layer), stop_at(SIZE // 2, gate))
    async with start_mirror(upstreams=ahead) as mirror:
        await get_manifest(mirror)
        await journal.wait_for(1, "GET", path_of(layer))
        async with (
            mirror.session.get(mirror.url + path_of(layer)) as first,
            mirror.session.get(mirror.url + path_of(layer)) as second,
        ):
            gate.open()
            assert await first.read() == await second.read() == layer.data
        assert [one.headers["Cache-Status"] for one in (first, second)] == [
            "mirror; fwd=miss; stored",
            "mirror; fwd=miss; collapsed; stored",
        ]


async def test_who_only_looks_at_manifests_costs_no_blobs(
    start_mirror: StartMirror,
    journal: Journal,
    cache_folder: CacheFolder,
    image: FakeImage,
    ahead: dict[str, Any],
    impatience: None,
) -> None:
    async with start_mirror(upstreams=ahead) as mirror:
        await get_manifest(mirror)
        await until_outcome(mirror, "let_go", 4)
        assert await mirror.metric('mirror_upstream_bytes_total{upstream="docker.io"}') == image.manifest.size
        # Nothing is left of them, and whoever comes later finds no trace of it.
        await until(lambda: not list((cache_folder.path / "partial").iterdir()), "nothing is on disk")
        response, body = await mirror.get(path_of(image.layers[0]))
        assert (response.headers["Cache-Status"], body) == ("mirror; fwd=miss; stored", image.layers[0].data)
    # What is sent into the buffers of connections is all there was.
    assert all(journal.select("GET", path_of(layer))[0].sent < SIZE for layer in image.layers)


async def test_what_was_removed_is_cold_again(
    start_mirror: StartMirror, image: FakeImage, ahead: dict[str, Any], impatience: None
) -> None:
    async with start_mirror(upstreams=ahead) as mirror:
        await get_manifest(mirror)
        await until_outcome(mirror, "let_go", 4)
        await done(mirror, "DELETE", "images/alpine:1")
        await get_manifest(mirror)
        await until_outcome(mirror, "let_go", 8)


async def test_who_comes_for_a_layer_has_those_above_it_as_well(
    start_mirror: StartMirror,
    journal: Journal,
    cache_folder: CacheFolder,
    image: FakeImage,
    ahead: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.proxy.fills.hold.HOLD_SECONDS", 2.0)
    lowest, middle, highest = image.layers
    async with start_mirror(upstreams=ahead) as mirror:
        await get_manifest(mirror)
        await journal.wait_for(4, "GET", "/v2/library/alpine/blobs/*")
        await mirror.get(path_of(middle))
        # The configuration lies above all layers, in this respect.
        await until_outcome(mirror, "early", 2)
        await until_outcome(mirror, "let_go", 1)
        assert cache_folder.file(highest.digest).exists()
        assert not cache_folder.file(lowest.digest).exists()


@pytest.mark.parametrize("reference", ["index", "missing"])
async def test_other_manifests_begin_nothing(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, ahead: dict[str, Any], reference: str
) -> None:
    registry.add_image("library/alpine", "index", content.index())
    for absent in ("0", "missing"):
        registry.absent(f"/v2/library/alpine/manifests/{absent}")
    async with start_mirror(upstreams=ahead) as mirror:
        await mirror.get(f"/v2/library/alpine/manifests/{reference}")
        await time_goes_by(mirror)
    assert not journal.select("GET", "*/blobs/*")


@pytest.mark.parametrize(
    "how",
    [
        {"read_ahead": False},
        {"limits": {"bandwidth": "10MiB"}},
        {"limits": {"fills": 1}},
    ],
    ids=["read_ahead", "bandwidth", "fills"],
)
async def test_it_is_left_where_nothing_is_to_spare(
    start_mirror: StartMirror, journal: Journal, image: FakeImage, ahead: dict[str, Any], how: dict[str, Any]
) -> None:
    async with start_mirror(upstreams={"docker.io": {**ahead["docker.io"], **how}}) as mirror:
        await get_manifest(mirror)
        await time_goes_by(mirror)
    assert asked_for(journal, *image.blobs) == [0] * 4


@pytest.mark.parametrize(
    ("how", "connections"),
    [({}, 5), ({"limits": {"fills": 5}}, 3), ({"read_ahead": False}, 1), ({"limits": {"bandwidth": "10MiB"}}, 1)],
    ids=["as it is", "fills", "read_ahead", "bandwidth"],
)
async def test_connections_for_blobs_are_opened_while_their_manifest_is_fetched(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    journal: Journal,
    image: FakeImage,
    ahead: dict[str, Any],
    how: dict[str, Any],
    connections: int,
) -> None:
    gate = Gate()
    registry.always(f"/v2/library/alpine/manifests/{image.manifest.digest}", hold(gate))
    async with start_mirror(upstreams={"docker.io": {**ahead["docker.io"], **how}}) as mirror:
        asking = asyncio.create_task(get_manifest(mirror))
        await gate.reached()
        await until(lambda: registry.accepted >= connections, "they are opened")
        await time_goes_by(mirror)
        assert not journal.select("GET", "*/blobs/*")
        # For the manifest that is waited for, and what is asked for meanwhile.
        assert registry.accepted <= max(2, connections)
        gate.open()
        await asking
    assert journal.count("GET", "/v2/") == 0


async def test_it_is_left_while_pulls_are_saved(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, image: FakeImage, ahead: dict[str, Any]
) -> None:
    registry.headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "5;w=21600"}
    async with start_mirror(upstreams=ahead) as mirror:
        await get_manifest(mirror)
        await time_goes_by(mirror)
    assert asked_for(journal, *image.blobs) == [0] * 4


async def test_a_mirror_that_asks_this_one_reads_ahead_itself(
    start_mirror: StartMirror, journal: Journal, image: FakeImage, ahead: dict[str, Any]
) -> None:
    async with start_mirror(upstreams=ahead) as mirror:
        await mirror.get(MANIFEST, headers={"CDN-Loop": "another"})
        await time_goes_by(mirror)
    assert asked_for(journal, *image.blobs) == [0] * 4


async def test_layers_that_are_to_be_had_elsewhere_are_not_asked_for(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, ahead: dict[str, Any]
) -> None:
    config, foreign, named = (content.blob(100, seed) for seed in ("config", "foreign", "named"))
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": content.DOCKER_MANIFEST,
        "config": content.descriptor(config, content.DOCKER_CONFIG),
        "layers": [
            content.descriptor(foreign, kind),
            {**content.descriptor(named, content.DOCKER_LAYER), "urls": ["https://elsewhere.example/layer"]},
        ],
    }
    registry.put_manifest("library/alpine", content.manifest(document, content.DOCKER_MANIFEST), "1")
    for blob in (config, foreign, named):
        registry.put_blob("library/alpine", blob)
    async with start_mirror(upstreams=ahead) as mirror:
        await get_manifest(mirror)
        await journal.wait_for(1, "GET", path_of(config))
    assert asked_for(journal, config, foreign, named) == [1, 0, 0]


async def test_a_stop_waits_for_nobody_who_has_not_come(
    start_mirror: StartMirror,
    journal: Journal,
    image: FakeImage,
    ahead: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.proxy.fills.hold.HOLD_SECONDS", 3600.0)
    async with asyncio.timeout(60):
        async with start_mirror(upstreams=ahead, drain_timeout="1h") as mirror:
            await get_manifest(mirror)
            await journal.wait_for(4, "GET", "/v2/library/alpine/blobs/*")


async def test_a_head_of_what_is_held_is_answered(
    start_mirror: StartMirror,
    journal: Journal,
    image: FakeImage,
    ahead: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.proxy.fills.hold.HOLD_SECONDS", 3600.0)
    async with start_mirror(upstreams=ahead) as mirror:
        await get_manifest(mirror)
        await journal.wait_for(4, "GET", "/v2/library/alpine/blobs/*")
        response, _ = await mirror.get(path_of(image.layers[0]), "HEAD")
        assert (response.status, response.content_length) == (200, SIZE)
        assert await outcome(mirror, "claimed") == 0


async def test_a_client_of_another_process_is_somebody_who_comes(
    mirrors: Mirrors, journal: Journal, image: FakeImage, ahead: dict[str, Any]
) -> None:
    one, other = await mirrors.start(2, upstreams=ahead)
    response, _ = await one.get(MANIFEST)
    assert response.status == 200
    await journal.wait_for(4, "GET", "/v2/library/alpine/blobs/*")
    async with asyncio.timeout(8):
        # Less than it is held for otherwise.
        await pull(other, image.layers[0])
    assert journal.body_bytes(path_of(image.layers[0])) == SIZE
