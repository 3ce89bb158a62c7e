"""Several endpoints of one upstream, some of them in trouble: who is asked how often, and what clients see of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.upstream.health.breaker import THRESHOLD
from tests.fakes import content, faults
from tests.fakes.auth import TokenAuth
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.waiting import until, until_metric

IMAGE = content.image(layers=1)
NEW = content.image(layers=1, seed="new")
ALPINE = "library/alpine"
TAG = f"/v2/{ALPINE}/manifests/3.20"
ROUNDS = 8

pytestmark = pytest.mark.usefixtures("unforgetting")


@pytest.fixture
def unforgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only breakers remember that an upstream could not be asked; who is out is pinged soon, and often."""
    monkeypatch.setattr("mirror.proxy.failures.UNAVAILABLE_SECONDS", 0.0)
    monkeypatch.setattr("mirror.upstream.health.breaker.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("mirror.upstream.health.breaker.LONGEST_PAUSE", 0.05)


@pytest.fixture
def soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hangs is waited for only so long."""
    monkeypatch.setattr("mirror.upstream.endpoints.FAILOVER_WITHIN", 0.3)


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry, other_registry: FakeRegistry) -> None:
    for one in (registry, other_registry):
        one.add_image(ALPINE, "3.20", IMAGE)


@pytest.fixture
async def mirror(
    start_mirror: StartMirror, registry: FakeRegistry, other_registry: FakeRegistry, token_service: FakeTokenService
) -> AsyncIterator[RunningMirror]:
    """A mirror of Docker Hub, which is "other", with an accelerator, whose tags are old at once."""
    upstream = {**docker_io(registry, token_service), "endpoints": [registry.url, other_registry.url]}
    async with start_mirror(upstreams={"docker.io": upstream}, freshness={"tag_ttl": "0s"}) as running:
        yield running


async def pulled(mirror: RunningMirror, rounds: int = ROUNDS) -> None:
    """Pull the tag so often; it is never stale."""
    for _ in range(rounds):
        response, body = await mirror.get(TAG)
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert "upstream-unavailable" not in response.headers["Cache-Status"]


def healthy(one: FakeRegistry) -> str:
    return f'mirror_upstream_healthy{{endpoint="{one.url}",upstream="docker.io"}}'


def asked(journal: Journal, host: str) -> tuple[int, int]:
    """How many HEADs and GETs for manifests an endpoint has seen."""
    return journal.count("HEAD", "*/manifests/*", host=host), journal.count("GET", "*/manifests/*", host=host)


# An accelerator in trouble. --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [faults.status(503), faults.dropped, faults.html], ids=["503", "no answer", "a page for people"]
)
async def test_an_accelerator_that_fails_is_asked_three_times_and_pinged(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, fault: Fault
) -> None:
    registry.always("/v2/*", fault)
    await pulled(mirror)
    # A kept connection that is closed without an answer is tried once more by the client library.
    assert THRESHOLD <= sum(asked(journal, "registry")) <= 2 * THRESHOLD
    assert asked(journal, "other") == (ROUNDS, 1)
    assert await mirror.metric(healthy(registry)) == 0
    await journal.wait_for(2, "GET", "/v2/", host="registry")


async def test_an_accelerator_that_is_down_costs_nothing_but_three_attempts(
    registry: FakeRegistry, other_registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    await registry.stop()
    await pulled(mirror)
    assert asked(journal, "other") == (ROUNDS, 1)
    assert (await mirror.metric(healthy(registry)), await mirror.metric(healthy(other_registry))) == (0, 1)


@pytest.mark.usefixtures("soon_over")
async def test_an_accelerator_that_hangs_is_waited_for_once(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    registry.hang()
    await pulled(mirror)
    assert sum(asked(journal, "registry")) == 1
    assert asked(journal, "other") == (ROUNDS, 1)
    registry.resume()


async def test_an_accelerator_that_is_throttled_is_left_alone(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    registry.always("/v2/*", faults.status(429, 60))
    await pulled(mirror)
    assert asked(journal, "registry") == (1, 0)
    assert asked(journal, "other") == (ROUNDS, 1)
    assert await mirror.metric(healthy(registry)) == 1


@pytest.mark.parametrize("status", [404, 401, 403])
async def test_an_accelerator_without_the_image_is_asked_first_all_the_same(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, status: int
) -> None:
    registry.always("/v2/*", faults.status(status))
    await pulled(mirror)
    assert asked(journal, "registry") == (ROUNDS, 1)
    assert asked(journal, "other") == (ROUNDS, 1)
    assert journal.count(path="/v2/") == 0


async def test_an_accelerator_that_is_back_is_asked_first_again(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, capsys: pytest.CaptureFixture[str]
) -> None:
    await registry.stop()
    await pulled(mirror)
    await registry.start()
    await until_metric(mirror, healthy(registry), 1)
    journal.clear()
    await pulled(mirror)
    assert asked(journal, "registry") == (ROUNDS, 0)
    assert asked(journal, "other") == (0, 0)
    told = [line for line in capsys.readouterr().out.splitlines() if "endpoint is" in line]
    assert ["endpoint is out" in line for line in told] == [True, False]
    assert "connection refused" in told[0]


async def test_a_no_of_the_registry_is_the_answer_whatever_ails_the_accelerator(
    registry: FakeRegistry, other_registry: FakeRegistry, mirror: RunningMirror
) -> None:
    other_registry.absent("/v2/library/nothing/*")
    for fault in (faults.status(503), faults.status(429, 60), faults.status(403)):
        registry.always("/v2/*", fault)
        response, body = await mirror.get(f"/v2/library/nothing/manifests/{len(registry.url)}")
        assert (response.status, error_code(body)) == (404, "MANIFEST_UNKNOWN")


async def test_an_accelerators_404_does_not_delete_what_the_registry_cannot_confirm(
    registry: FakeRegistry, other_registry: FakeRegistry, mirror: RunningMirror
) -> None:
    await pulled(mirror, 1)
    registry.always("/v2/*", faults.status(404))
    await other_registry.stop()
    for _ in range(2 * THRESHOLD):
        response, body = await mirror.get(TAG)
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert response.headers["Cache-Status"] == "mirror; fwd=stale; detail=upstream-unavailable"


# All of them in trouble. -----------------------------------------------------------------------------------


async def test_where_nobody_answers_cached_images_go_stale_and_new_ones_fail_at_once(
    registry: FakeRegistry, other_registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    await pulled(mirror, 1)
    for one in (registry, other_registry):
        one.always("/v2/*", faults.status(503))
        one.add_image(ALPINE, "new", NEW)
    for _ in range(2 * THRESHOLD):
        await mirror.get(TAG)
    await until_metric(mirror, healthy(other_registry), 0)
    journal.clear()
    for _ in range(20):
        response, body = await mirror.get(TAG)
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert response.headers["Cache-Status"] == "mirror; fwd=stale; detail=upstream-unavailable"
        response, body = await mirror.get(f"/v2/{ALPINE}/manifests/new")
        assert (response.status, error_code(body)) == (503, "UNAVAILABLE")
        assert response.headers["Cache-Status"] == "mirror; detail=upstream-down"
        assert response.headers["Retry-After"] == "1"
    assert {entry.path for entry in journal.entries} <= {"/v2/"}
    for one in (registry, other_registry):
        one.heal()
        await until_metric(mirror, healthy(one), 1)
    response, body = await mirror.get(f"/v2/{ALPINE}/manifests/new")
    assert (response.status, body) == (200, NEW.manifest.data)


async def test_readiness_names_an_upstream_in_trouble_and_is_not_red_for_it(
    registry: FakeRegistry, other_registry: FakeRegistry, mirror: RunningMirror
) -> None:
    async def ready() -> tuple[int, list[str]]:
        async with mirror.session.get(f"{mirror.admin_url}/readyz") as response:
            return response.status, json.loads(await response.read())["degraded"]

    assert await ready() == (200, [])
    await registry.stop()
    await pulled(mirror)
    assert await ready() == (200, ["an endpoint of docker.io does not answer"])
    await other_registry.stop()
    for _ in range(THRESHOLD):
        await mirror.get(TAG)
    await until_metric(mirror, healthy(other_registry), 0)
    assert await ready() == (200, ["no endpoint of docker.io answers: nothing new can be pulled"])
    await other_registry.start()
    await until_metric(mirror, healthy(other_registry), 1)
    await registry.start()
    await until_metric(mirror, healthy(registry), 1)
    assert await ready() == (200, [])


async def test_all_are_throttled_until_the_first_of_them_is_not(
    registry: FakeRegistry, other_registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    for one, seconds in ((registry, 100), (other_registry, 40)):
        one.always("/v2/*", faults.status(429, seconds))
    for _ in range(5):
        response, _ = await mirror.get(TAG)
        assert response.status == 503
        assert 38 <= int(response.headers["Retry-After"]) <= 40
    assert (asked(journal, "registry"), asked(journal, "other")) == ((1, 0), (1, 0))


# One endpoint. ---------------------------------------------------------------------------------------------


async def test_one_broken_image_does_not_take_the_others_away(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror
) -> None:
    registry.add_image(ALPINE, "broken", NEW)
    registry.always(f"/v2/{ALPINE}/manifests/broken", faults.status(500))
    async with start_mirror() as mirror:
        for _ in range(3 * THRESHOLD):
            assert (await mirror.get(f"/v2/{ALPINE}/manifests/broken"))[0].status == 502
        await journal.wait_for(1, "GET", "/v2/")
        assert (await mirror.get(TAG))[0].status == 200
        assert await mirror.metric(healthy(registry)) == 1
    assert journal.count("HEAD", "*/broken") == 3 * THRESHOLD


async def test_a_registry_whose_token_service_is_down_is_out_until_that_is_back(
    registry: FakeRegistry, token_service: FakeTokenService, start_mirror: StartMirror
) -> None:
    registry.auth = TokenAuth(token_service)
    await token_service.stop()
    async with start_mirror() as mirror:
        for _ in range(THRESHOLD):
            assert (await mirror.get(TAG))[0].status == 502
        await until_metric(mirror, healthy(registry), 0)
        assert (await mirror.get(TAG))[0].status == 503
        await token_service.start()
        await until_metric(mirror, healthy(registry), 1)
        assert (await mirror.get(TAG))[0].status == 200


async def test_what_anybody_sees_and_what_the_credentials_see_is_one_endpoint(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    start_mirror: StartMirror,
    tmp_path: Path,
) -> None:
    (tmp_path / "password").write_text("correct horse")
    credentials = {"username": "ci", "password_file": str(tmp_path / "password")}
    upstream = {**docker_io(registry, token_service), "credentials": credentials}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        registry.always("/v2/*", faults.status(503))
        for _ in range(THRESHOLD):
            assert (await mirror.get(TAG))[0].status == 502
        await until_metric(mirror, healthy(registry), 0)
        journal.clear()
        assert (await mirror.get(TAG))[0].status == 503
        assert (await mirror.get(f"/v2/{ALPINE}/blobs/{IMAGE.layers[0].digest}"))[0].status == 503
        assert {entry.path for entry in journal.entries} <= {"/v2/"}


@pytest.mark.usefixtures("soon_over")
async def test_a_mirror_stops_while_it_pings(registry: FakeRegistry, start_mirror: StartMirror) -> None:
    async with start_mirror(drain_timeout="1h") as mirror:
        registry.always("/v2/*", faults.status(503))
        for _ in range(THRESHOLD):
            await mirror.get(TAG)
        await until_metric(mirror, healthy(registry), 0)
        registry.hang()
        await until(lambda: "GET /v2/" in registry.journal.paths(), "it pings")
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ping")] == []
    registry.resume()


# A blob on its way. ----------------------------------------------------------------------------------------


async def test_a_fill_waits_for_an_upstream_that_is_down_and_goes_on(
    registry: FakeRegistry,
    journal: Journal,
    start_mirror: StartMirror,
    cache_folder: CacheFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blob, gate = content.blob(3_000_000), Gate()
    registry.put_blob(ALPINE, blob)
    monkeypatch.setattr("mirror.proxy.fills.retry.FIRST_PAUSE", 0.01)
    path = f"/v2/{ALPINE}/blobs/{blob.digest}"
    registry.fault(path, faults.both(faults.stop_at(1_000_000, gate), faults.cut_at(1_000_000)))
    partial = cache_folder.partial(blob.digest)
    async with start_mirror() as mirror:
        reading = asyncio.create_task(mirror.get(path))
        await gate.reached()
        await until(lambda: partial.exists() and partial.stat().st_size == 1_000_000, "what was sent is on disk")
        registry.always("/v2/*", faults.status(503))
        gate.open()
        await until_metric(mirror, healthy(registry), 0)
        registry.heal()
        _, body = await reading
    assert body == blob.data
    assert sum(entry.sent for entry in journal.select("GET", path) if entry.status in (200, 206)) == len(blob.data)
