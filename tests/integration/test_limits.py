"""What is taken from an upstream at most: fills at a time, and bytes a second."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from mirror.config import load
from mirror.errors import ConfigError
from mirror.proxy.fills.throttle import Bandwidth
from tests.fakes import content, faults
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.conftest import StartMirror, docker_io
from tests.integration.joins import Joins

IMAGE = content.image(layers=3, size=50_000)
ALPINE = "library/alpine"


async def test_no_more_fills_at_a_time_than_the_limit_and_others_have_their_own(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    journal: Journal,
    joins: Joins,
) -> None:
    registry.add_image(ALPINE, "3.20", IMAGE)
    elsewhere = content.image(layers=1, seed="elsewhere")
    other_registry.add_image("owner/app", "1", elsewhere)
    gate = Gate()
    registry.always("*/blobs/*", faults.hold(gate), method="GET")
    upstreams = {
        "docker.io": {**docker_io(registry, token_service), "limits": {"fills": 2}},
        "ghcr.io": {**docker_io(other_registry, token_service), "limits": {"fills": 1, "bandwidth": "1GiB"}},
    }
    async with start_mirror(upstreams=upstreams) as mirror:
        paths = [f"/v2/{ALPINE}/blobs/{layer.digest}" for layer in IMAGE.layers]
        clients = [asyncio.create_task(mirror.get(path)) for path in paths]
        await joins.reach(3)
        response, body = await mirror.get(f"/v2/ghcr.io/owner/app/blobs/{elsewhere.layers[0].digest}")
        assert (response.status, body) == (200, elsewhere.layers[0].data)
        assert journal.count("GET", host="registry") == 2
        gate.open()
        for layer, (response, body) in zip(IMAGE.layers, await asyncio.gather(*clients), strict=True):
            assert (response.status, body) == (200, layer.data)


async def test_blobs_of_an_upstream_with_a_limit_are_held_back_and_nothing_else(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.add_image(ALPINE, "3.20", IMAGE)
    spent: list[int] = []
    monkeypatch.setattr(Bandwidth, "pause", lambda *_: 0.0)
    monkeypatch.setattr(Bandwidth, "spend", lambda _, size, __: spent.append(size))
    limited = {**docker_io(registry, token_service), "limits": {"bandwidth": "64KiB"}}
    upstreams = {"docker.io": limited, "ghcr.io": docker_io(registry, token_service)}
    async with start_mirror(upstreams=upstreams) as mirror:
        await mirror.get(f"/v2/{ALPINE}/manifests/3.20")
        await mirror.get(f"/v2/{ALPINE}/tags/list")
        await mirror.get(f"/v2/ghcr.io/{ALPINE}/blobs/{IMAGE.layers[1].digest}")
        assert spent == []
        response, body = await mirror.get(f"/v2/{ALPINE}/blobs/{IMAGE.layers[0].digest}")
        assert (response.status, body) == (200, IMAGE.layers[0].data)
        assert sum(spent) == len(body)


@pytest.mark.parametrize(
    ("limits", "key"),
    [
        ({"fills": 0}, ".fills"),
        ({"fills": -1}, ".fills"),
        ({"fills": 1025}, ".fills"),
        ({"fills": True}, ".fills"),
        ({"fills": "16"}, ".fills"),
        ({"fills": 1.5}, ".fills"),
        ({"fills": None}, ".fills"),
        ({"bandwidth": 1_000_000}, ".bandwidth"),
        ({"bandwidth": "0MiB"}, ".bandwidth"),
        ({"bandwidth": "63KiB"}, ".bandwidth: so many bytes a second, 64KiB at least"),
        ({"bandwidth": "fast"}, ".bandwidth"),
        ({"bandwidth": "10Mbit"}, ".bandwidth"),
        ({"band_width": "1MiB"}, ".band_width: unknown key; did you mean bandwidth?"),
        (16, ": fields are expected below this"),
    ],
    ids=str,
)
def test_limits_that_cannot_be(tmp_path: Path, limits: object, key: str) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(json.dumps({"upstreams": {"docker.io": {"limits": limits}}}))
    with pytest.raises(ConfigError) as raised:
        load(file)
    assert str(raised.value).startswith(f"upstreams.docker.io.limits{key}")


def test_limits_by_default() -> None:
    limits = load(None).upstreams["ghcr.io"].limits
    assert (limits.fills, limits.bandwidth) == (64, None)
