"""`POST /api/v1/warm` through the whole application: what is fetched, once, and what is there without upstream then."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes import content, faults
from tests.fakes.auth import TokenAuth
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.pull_limit import ADDRESS, PullLimit
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder, all_of
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.steering import REPOSITORY, call, done, get, pull
from tests.integration.waiting import until, until_metric

AMD, ARM, S390X = (content.image(layers=2, seed=seed) for seed in ("amd64", "arm64", "s390x"))
INDEX = content.index(AMD, ARM, S390X)
NAME = "docker.io/library/alpine:3.20"
LARGE = content.image(layers=1, size=3 * 1024 * 1024, seed="large")


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry) -> None:
    """An image of three platforms at upstream."""
    registry.add_image(REPOSITORY, "3.20", INDEX)


async def warm(mirror: RunningMirror, *images: str, **options: Any) -> list[dict[str, Any]]:
    """Warm images, and return all that is told."""
    options.setdefault("platforms", ["linux/amd64"])
    url = f"{mirror.admin_url}/api/v1/warm"
    async with mirror.session.post(url, json={"images": images, **options}) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/x-ndjson"
        return [json.loads(line) for line in (await response.text()).splitlines()]


async def warmed(mirror: RunningMirror, *images: str, **options: Any) -> list[dict[str, Any]]:
    """Warm images, and return how it went with each."""
    *told, end = await warm(mirror, *images, **options)
    assert end["event"] == "end"
    return [event for event in told if event["event"] == "image"]


def size_of(*images: content.FakeImage) -> int:
    return sum(image.manifest.size + sum(blob.size for blob in image.blobs) for image in images)


# What is fetched. ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platforms", "wanted"),
    [
        (["linux/amd64"], (AMD,)),
        (["linux/arm64/v8", "linux/amd64"], (AMD, ARM)),
        (["all"], (AMD, ARM, S390X)),
    ],
)
async def test_the_index_and_the_chosen_platforms_are_there_when_it_ends(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    cache_folder: CacheFolder,
    platforms: list[str],
    wanted: tuple[content.FakeImage, ...],
) -> None:
    async with start_mirror() as mirror:
        size = INDEX.manifest.size + size_of(*wanted)
        [told] = await warmed(mirror, "alpine:3.20", platforms=platforms)
        assert told == {
            "event": "image",
            "image": NAME,
            "outcome": "warmed",
            "bytes": size,
            "fetched_bytes": size,
            "error": None,
        }
        assert cache_folder.digests() == {INDEX.digest} | all_of(*wanted)
        await registry.stop()
        await pull(mirror, "3.20", *wanted)


async def test_the_second_time_nothing_is_fetched(start_mirror: StartMirror, journal: Journal) -> None:
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await warmed(mirror, "alpine:3.20")
        journal.clear()
        [told] = await warmed(mirror, "alpine:3.20")
        assert (told["outcome"], told["fetched_bytes"]) == ("present", 0)
        assert {entry.method for entry in journal.select(host="registry")} == {"HEAD"}


async def test_what_a_client_has_pulled_in_part_is_completed(start_mirror: StartMirror, journal: Journal) -> None:
    async with start_mirror() as mirror:
        await get(mirror, f"/v2/{REPOSITORY}/manifests/3.20")
        await get(mirror, f"/v2/{REPOSITORY}/blobs/{AMD.layers[0].digest}")
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        journal.clear()
        [told] = await warmed(mirror, "alpine:3.20")
        assert told["outcome"] == "warmed"
        assert told["fetched_bytes"] == size_of(AMD) - AMD.layers[0].size
        assert not journal.select(path=f"*/{AMD.layers[0].digest}")


async def test_several_at_once_and_a_client_cost_one_fetch(start_mirror: StartMirror, journal: Journal) -> None:
    async with start_mirror() as mirror:
        first, second, _ = await asyncio.gather(
            warmed(mirror, "alpine:3.20"), warmed(mirror, "docker.io/library/alpine:3.20"), pull(mirror, "3.20", AMD)
        )
        assert {told["error"] for told in first + second} == {None}
        fetched = [entry.path for entry in journal.select("GET", host="registry")]
        assert sorted(fetched) == sorted(set(fetched))


async def test_images_that_share_a_layer_cost_it_once(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image("library/first", "1", LARGE)
    registry.add_image("library/second", "1", LARGE)
    async with start_mirror() as mirror:
        told = await warmed(mirror, "first:1", "second:1")
        assert {one["error"] for one in told} == {None}
        assert len(journal.select("GET", path=f"*/blobs/{LARGE.layers[0].digest}")) == 1
        await pull(mirror, "1", LARGE, name="library/second")


async def test_a_tag_that_moves_meanwhile_is_one_image_all_the_same(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    gate = Gate()
    registry.fault(f"*/blobs/{AMD.layers[0].digest}", faults.stop_at(100, gate))
    async with start_mirror() as mirror:
        warming = asyncio.create_task(warmed(mirror, "alpine:3.20"))
        await gate.reached()
        registry.move_tag(REPOSITORY, "3.20", ARM)
        gate.open()
        [told] = await warming
        assert told["outcome"] == "warmed"
        assert all_of(AMD) <= cache_folder.digests()


async def test_a_purge_meanwhile_does_not_stop_what_is_on_its_way(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    gate = Gate()
    registry.add_image(REPOSITORY, "large", LARGE)
    registry.fault(f"*/blobs/{LARGE.layers[0].digest}", faults.stop_at(100, gate))
    async with start_mirror() as mirror:
        warming = asyncio.create_task(warmed(mirror, "alpine:large"))
        await gate.reached()
        assert (await done(mirror, "DELETE", "images/alpine:large"))["under_way"] >= 1
        gate.open()
        await warming
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        assert LARGE.layers[0].digest in cache_folder.digests()


# What cannot be had. -------------------------------------------------------------------------------------


async def test_each_image_that_fails_tells_why_and_the_others_are_warmed(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    registry.absent("/v2/library/nothing/*")
    registry.add_image("library/broken", "1", content.image(seed="broken"))
    registry.fault("/v2/library/broken/manifests/1", faults.status(503), faults.status(503), faults.status(503))
    async with start_mirror() as mirror:
        wanted = ("nothing:1", "UPPER", "quay.io/a/b", "alpine:3.20", "broken:1")
        told = {one["image"]: one for one in await warmed(mirror, *wanted)}
    reasons = {name: one["error"]["code"] for name, one in told.items() if one["error"]}
    assert reasons == {
        "docker.io/library/nothing:1": "manifest-unknown",
        "UPPER": "invalid-name",
        "quay.io/a/b": "unknown-registry",
        "docker.io/library/broken:1": "upstream-failed",
    }
    assert told[NAME]["outcome"] == "warmed"


async def test_a_platform_that_is_not_there_is_told_with_those_that_are(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        [told] = await warmed(mirror, "alpine:3.20", platforms=["linux/riscv64"])
        assert told["outcome"] == "failed"
        assert told["error"] == {
            "code": "platform-missing",
            "message": "it is not there for linux/riscv64; it is for linux/amd64, linux/arm64, linux/s390x",
        }


async def test_an_upstream_that_is_down_fails_even_what_is_cached(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await warmed(mirror, "alpine:3.20")
        await registry.stop()
        [told] = await warmed(mirror, "alpine:3.20")
        assert (told["outcome"], told["error"]["code"]) == ("failed", "upstream-unreachable")


async def test_what_does_not_fit_is_a_failure_and_not_fetched_in_vain(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image(REPOSITORY, "large", LARGE)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        [told] = await warmed(mirror, "alpine:large")
        assert (told["outcome"], told["error"]["code"]) == ("failed", "store-failed")
        assert "too large for the cache" in told["error"]["message"]
        await until_metric(mirror, "mirror_fills_in_flight", 0)


async def test_the_reserve_of_a_limit_is_not_spent(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    limit = registry.pull_limit = PullLimit(10)
    names = [f"app:{number}" for number in range(10)]
    for number in range(10):
        registry.add_image("library/app", str(number), content.image(layers=1, seed=number))
    async with start_mirror() as mirror:
        *told, end = await warm(mirror, *names)
        assert limit.spent[ADDRESS] == 9
        assert (end["warmed"], end["spared"], end["failed"]) == (9, 1, 0)
        [spared] = [event for event in told if event.get("outcome") == "spared"]
        assert spared["error"]["code"] == "reserve-reached"
        # A client may still spend it.
        await get(mirror, f"/v2/library/app/manifests/{spared['image'].rpartition(':')[2]}")


async def test_of_a_limit_that_is_not_known_yet_nothing_is_spent_either(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    limit = registry.pull_limit = PullLimit(10)
    limit.spent[ADDRESS] = 9
    async with start_mirror() as mirror:
        [told] = await warmed(mirror, "alpine:3.20")
        assert told["outcome"] == "spared"
        assert limit.pulls[ADDRESS] == 0


async def test_what_is_not_public_is_not_fetched(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    tmp_path: Path,
    journal: Journal,
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": "secret"}
    token_service.restrict("library/alpine", "ci")
    (tmp_path / "password").write_text("secret")
    credentials = {"username": "ci", "password_file": str(tmp_path / "password")}
    upstream = {**docker_io(registry, token_service), "credentials": credentials}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        [told] = await warmed(mirror, "alpine:3.20")
        assert (told["outcome"], told["error"]["code"]) == ("failed", "not-public")
        assert not journal.select("GET", host="registry", path="*/manifests/*")


# Who asks. -----------------------------------------------------------------------------------------------


MALFORMED = {
    b"{": "the body is",
    b"[]": "the body is",
    b'{"images": []}': "the body is",
    b'{"images": [1]}': "the body is",
    b'{"images": ["a"], "platforms": "linux/amd64"}': "platforms are a list",
    b'{"images": ["a"], "platforms": ["windows"]}': "a platform is os/architecture",
    b'{"images": ["a"], "platforms": []}': "at least one platform",
    json.dumps({"images": [f"a:{number}" for number in range(1001)]}).encode(): "at most 1000 images",
    b" " * (600 * 1024): "the body is",
}


async def test_malformed_calls_are_refused(mirror: RunningMirror) -> None:
    for body, message in MALFORMED.items():
        headers = {"Content-Type": "application/json"}
        status, document = await call(mirror, "POST", "warm", data=body, headers=headers)
        assert (status, message in document["error"]["message"]) == (400, True), body[:50]


async def test_warming_changes_something_and_is_guarded_like_it(mirror: RunningMirror) -> None:
    wanted = {"images": ["alpine:3.20"]}
    assert (await call(mirror, "POST", "warm", json=wanted, headers={"Origin": "http://evil"}))[0] == 403
    assert (await call(mirror, "POST", "warm", json=wanted, headers={"Host": "evil.example"}))[0] == 403
    assert (await call(mirror, "POST", "warm", data="x"))[0] == 415
    assert (await call(mirror, "GET", "warm"))[0] == 404


async def test_a_few_callers_at_a_time_are_heard(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    gate = Gate()
    registry.fault(f"*/blobs/{AMD.layers[0].digest}", faults.stop_at(100, gate))
    async with start_mirror() as mirror:
        callers = [asyncio.create_task(warm(mirror, "alpine:3.20")) for _ in range(4)]
        await gate.reached()
        status = 200
        document: Any = {}
        async with asyncio.timeout(30):
            while status == 200:
                status, document = await call(mirror, "POST", "warm", json={"images": ["alpine:3.20"]})
        assert (status, document["error"]["code"]) == (503, "busy")
        gate.open()
        await asyncio.gather(*callers)
        # Those who are gone are no callers any more; what is named twice is fetched, and told, once.
        assert len(await warmed(mirror, "alpine:3.20", "alpine:3.20")) == 1


async def test_who_leaves_ends_it_and_what_is_on_its_way_comes(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    journal: Journal,
    cache_folder: CacheFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.admin.warming.TOLD_SECONDS", 0.01)
    monkeypatch.setattr("mirror.proxy.warming.batch.IMAGES_AT_ONCE", 1)
    gate = Gate()
    registry.add_image("library/other", "1", content.image(seed="other"))
    registry.add_image("library/first", "1", LARGE)
    registry.fault(f"*/blobs/{LARGE.layers[0].digest}", faults.stop_at(100, gate))
    async with start_mirror() as mirror:
        body = {"images": ["first:1", "other:1"]}
        async with mirror.session.post(f"{mirror.admin_url}/api/v1/warm", json=body) as response:
            await gate.reached()
            line = json.loads(await response.content.readline())
            assert line["event"] == "progress"
            assert line["images"][0]["image"] == "docker.io/library/first:1"
        await until(lambda: not _warming(), "the work ends with its caller")
        gate.open()
        await until(lambda: LARGE.layers[0].digest in cache_folder.digests(), "what is on its way comes")
        assert not journal.select(path="*/library/other/*")


def _warming() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if "Batch.run" in repr(task)]


async def test_a_stop_waits_for_what_has_begun_and_begins_nothing_else(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.proxy.warming.batch.IMAGES_AT_ONCE", 1)
    gate = Gate()
    registry.add_image("library/first", "1", content.image(layers=0, seed="first"))
    registry.fault("/v2/library/first/blobs/*", faults.hold(gate))
    async with aiohttp.ClientSession() as session:
        async with start_mirror() as mirror:
            url = f"{mirror.admin_url}/api/v1/warm"
            response = await session.post(url, json={"images": ["first:1", "alpine:3.20"]})
            await gate.reached()
            asyncio.get_running_loop().create_task(_open_when_stopping(mirror, gate)).add_done_callback(_seen_off)
        events = [json.loads(line) for line in (await response.text()).splitlines()]
    first, other = (event for event in events if event["event"] == "image")
    assert (first["outcome"], events[-1]["event"]) == ("warmed", "end")
    assert (other["outcome"], other["error"]["code"]) == ("failed", "shutting-down")


async def _open_when_stopping(mirror: RunningMirror, gate: Gate) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        status = 200
        while status == 200:
            async with session.get(f"{mirror.admin_url}/readyz") as response:
                status = response.status
    gate.open()


def _seen_off(task: asyncio.Task[None]) -> None:
    task.result()
