"""A clock that is set forward or back, by an hour or a year, at the worst moment: few requests, nothing lost."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import content, faults
from tests.fakes.auth import TokenAuth
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.waiting import until, until_metric
from tests.integration.wall_clock import WallClock

HOUR = 3600.0
YEAR = 365 * 24 * HOUR
IMAGE = content.image(layers=1)
LAYER = IMAGE.layers[0]
TAG = "/v2/library/alpine/manifests/3.20"
DIGEST = f"/v2/library/alpine/manifests/{IMAGE.digest}"
BLOB = f"/v2/library/alpine/blobs/{LAYER.digest}"
TAGS = "/v2/library/alpine/tags/list"

JUMPS = pytest.mark.parametrize("jump", [YEAR, -HOUR])


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """What every mirror of the test takes for the time; the loop's own clock goes on as it should."""
    clock = WallClock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
async def mirror(start_mirror: StartMirror, clock: WallClock) -> AsyncIterator[RunningMirror]:
    async with start_mirror(clock=clock) as running:
        yield running


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image("library/alpine", "3.20", IMAGE)


async def pulled(mirror: RunningMirror, path: str = TAG) -> str:
    """The Cache-Status of a good answer, whose age is one that can be."""
    response, body = await mirror.get(path)
    assert response.status == 200, body
    assert 0 <= int(response.headers.get("Age", "0")) < 2 * YEAR
    return response.headers["Cache-Status"]


async def cached(mirror: RunningMirror) -> None:
    """Pull the image, and wait until all of it is on the disk."""
    for path in (TAG, BLOB):
        await pulled(mirror, path)
    await until_metric(mirror, "mirror_fills_in_flight", 0)


# What upstream said. -------------------------------------------------------------------------------------


@JUMPS
@pytest.mark.parametrize("path", [TAG, TAGS])
async def test_what_is_cached_is_asked_for_once_and_then_it_is_as_ever(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, clock: WallClock, jump: float, path: str
) -> None:
    await pulled(mirror, path)
    for off in (jump, 0.0):
        clock.off = off
        journal.clear()
        assert [await pulled(mirror, path) for _ in range(3)][1:] == ["mirror; hit"] * 2
        assert len(journal.entries) <= 1
        assert journal.body_bytes("/v2/library/alpine/manifests/*") == 0


@JUMPS
async def test_in_an_outage_nothing_is_forgotten(
    mirror: RunningMirror, registry: FakeRegistry, clock: WallClock, jump: float
) -> None:
    await cached(mirror)
    await registry.stop()
    clock.off = jump
    response, body = await mirror.get(TAG)
    if jump > HOUR:
        # As far as anybody can tell it has been a year since.
        assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
    else:
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert "fwd=stale" in response.headers["Cache-Status"]
    assert await pulled(mirror, DIGEST) == "mirror; hit"
    assert await pulled(mirror, BLOB) == "mirror; hit"
    clock.off = 0.0
    assert await pulled(mirror) == "mirror; hit"


@JUMPS
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_in_the_middle_of_a_pull(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, clock: WallClock, jump: float, method: str
) -> None:
    def leap() -> None:
        clock.off += jump

    registry.fault("/v2/library/alpine/manifests/*", faults.meanwhile(leap), method=method)
    assert await pulled(mirror) == "mirror; fwd=miss; stored"
    assert registry.script.unused() == []
    moved = content.image(layers=1, seed="moved")
    registry.move_tag("library/alpine", "3.20", moved)
    # It was vouched for before the jump, whenever that was: it is asked for again, and then believed.
    for expected in ("mirror; fwd=miss; stored", "mirror; hit"):
        response, body = await mirror.get(TAG)
        assert (body, response.headers["Cache-Status"]) == (moved.manifest.data, expected)
    assert journal.count("HEAD") == 2


@JUMPS
async def test_a_no_is_remembered_for_as_long_as_ever(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, clock: WallClock, jump: float
) -> None:
    registry.absent("/v2/library/alpine/manifests/none")
    for off in (0.0, jump):
        clock.off = off
        response, body = await mirror.get("/v2/library/alpine/manifests/none")
        assert (response.status, error_code(body)) == (404, "MANIFEST_UNKNOWN")
    assert len(journal.entries) == 1


# What the mirror is and may. -------------------------------------------------------------------------------


@JUMPS
async def test_a_token_lives_as_long_as_ever(
    mirror: RunningMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    clock: WallClock,
    jump: float,
) -> None:
    registry.auth = TokenAuth(token_service)
    await pulled(mirror)
    clock.off = jump
    await pulled(mirror, BLOB)
    assert (token_service.requests(), journal.count(status=401)) == (1, 1)


@JUMPS
async def test_what_is_public_stays_so(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    clock: WallClock,
    tmp_path: Path,
    jump: float,
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": "secret"}
    (tmp_path / "password").write_text("secret")
    credentials = {"username": "ci", "password_file": str(tmp_path / "password")}
    upstream: dict[str, Any] = {**docker_io(registry, token_service), "credentials": credentials}
    async with start_mirror(clock=clock, upstreams={"docker.io": upstream}) as mirror:
        await cached(mirror)
        for off in (jump, 0.0):
            clock.off = off
            journal.clear()
            for _ in range(3):
                assert await pulled(mirror, BLOB) == "mirror; hit"
            # Whether anybody may read it is asked once, without credentials.
            assert journal.count(host="registry") <= 1


# What is on the disk. ------------------------------------------------------------------------------------


@JUMPS
async def test_nothing_is_evicted(
    start_mirror: StartMirror, clock: WallClock, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr("mirror.store.cache._UPKEEP_SECONDS", 0.01)
    limits = {"cache": {"path": str(cache_folder.path), "blob_ttl": "30m"}}

    def noted() -> bool:
        seen_at, _ = json.loads((cache_folder.path / "run" / "watch").read_bytes())
        return bool(abs(seen_at - clock()) < HOUR / 2)

    async with start_mirror(clock=clock, **limits) as mirror:
        await cached(mirror)
        for off in (jump, 0.0):
            clock.off = off
            await until(noted, "the upkeep has seen what time it is")
            assert cache_folder.digests() == {IMAGE.digest, LAYER.digest}
    # Nor while no mirror ran.
    clock.off = jump
    async with start_mirror(clock=clock, **limits) as mirror:
        await until(noted, "the upkeep has seen what time it is")
        assert await pulled(mirror, DIGEST) == await pulled(mirror, BLOB) == "mirror; hit"


# What a limit leaves. ------------------------------------------------------------------------------------


@JUMPS
async def test_a_limit_that_was_reached_locks_nobody_out(
    mirror: RunningMirror, registry: FakeRegistry, clock: WallClock, jump: float
) -> None:
    registry.always("/v2/*/manifests/*", faults.status(429, 1800))
    response, body = await mirror.get(TAG)
    assert (response.status, response.headers["Retry-After"], error_code(body)) == (503, "1800", "UNAVAILABLE")
    registry.heal()
    registry.add_image("library/other", "1.0", IMAGE)
    clock.off = jump
    assert await pulled(mirror, "/v2/library/other/manifests/1.0") == "mirror; fwd=miss; stored"
