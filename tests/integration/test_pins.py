"""Pins: what is pinned is evicted neither for room nor for age, with all it holds and will hold."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from mirror.proxy.events.observer import Event
from mirror.proxy.events.operations import PinChanged
from mirror.store.watch import NAME
from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder, all_of
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.processes import Mirrors, committed, mirrors
from tests.integration.processes import pull as pull_blob
from tests.integration.processes import put as put_blob
from tests.integration.steering import REPOSITORY, call, done, get, listed, pin, pull, steer
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024

__all__ = ["mirrors"]


async def crowd(mirror: RunningMirror, registry: FakeRegistry, count: int = 5, size: int = MIB) -> None:
    """Pull more than there is room for."""
    for number in range(count):
        blob = content.blob(size, f"crowd {number}")
        registry.put_blob(REPOSITORY, blob)
        await get(mirror, f"/v2/{REPOSITORY}/blobs/{blob.digest}")
        await until_metric(mirror, "mirror_fills_in_flight", 0)


@pytest.mark.parametrize("how", ["by tag", "by digest", "before it is cached"])
async def test_what_is_pinned_stays_whatever_is_pulled(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, how: str
) -> None:
    image = content.image(layers=2, size=MIB // 2, seed="pinned")
    registry.add_image(REPOSITORY, "3.20", image)
    name = f"alpine@{image.digest}" if how == "by digest" else "alpine:3.20"
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        if how == "before it is cached":
            assert (await pin(mirror, name))["cached"] is False
        await pull(mirror, "3.20", image)
        assert (await pin(mirror, name))["cached"] is True
        await crowd(mirror, registry)
        assert all_of(image) <= cache_folder.digests()
        assert cache_folder.size() <= 4 * MIB
        await done(mirror, "DELETE", f"pins/{name}")
        await crowd(mirror, registry)
        assert not {blob.digest for blob in image.blobs if blob.size > MIB // 4} & cache_folder.digests()


async def test_a_pin_on_an_index_holds_the_platforms_that_come_later(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    first, second = (content.image(layers=1, size=MIB // 2, seed=seed) for seed in ("first", "second"))
    index = content.index(first, second)
    registry.add_image(REPOSITORY, "1", index)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await pull(mirror, "1", first)
        await pin(mirror, "alpine:1")
        await pull(mirror, "1", second)
        await crowd(mirror, registry)
        assert {index.digest} | all_of(first) | all_of(second) <= cache_folder.digests()


async def test_a_pin_on_a_tag_moves_with_it(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    before, after = (content.image(layers=1, size=MIB, seed=seed) for seed in ("before", "after"))
    registry.add_image(REPOSITORY, "1", before)
    async with start_mirror(cache={"max_size": "4MiB"}, freshness={"tag_ttl": "0s"}) as mirror:
        await pull(mirror, "1", before)
        await pin(mirror, "alpine:1")
        registry.move_tag(REPOSITORY, "1", after)
        await pull(mirror, "1", after)
        await crowd(mirror, registry)
        assert all_of(after) <= cache_folder.digests()
        assert before.layers[0].digest not in cache_folder.digests()


async def test_what_upstream_has_deleted_stays_pinned(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1, size=MIB)
    registry.add_image(REPOSITORY, "1", image)
    async with start_mirror(cache={"max_size": "4MiB"}, freshness={"tag_ttl": "0s"}) as mirror:
        await pull(mirror, "1", image)
        await pin(mirror, "alpine:1")
        registry.remove_tag(REPOSITORY, "1")
        assert (await mirror.get(f"/v2/{REPOSITORY}/manifests/1"))[0].status == 404
        await crowd(mirror, registry)
        assert all_of(image) <= cache_folder.digests()


@pytest.mark.parametrize("lost", [(), ("index", "records"), ("index", "records", "run")])
async def test_pins_survive_a_restart_and_the_loss_of_every_index(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, lost: tuple[str, ...]
) -> None:
    image = content.image(layers=1, size=MIB)
    registry.add_image(REPOSITORY, "1", image)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await pull(mirror, "1", image)
        await pin(mirror, "alpine:1")
        registry.absent("/v2/library/ghost/*")
        await pin(mirror, "ghost:latest")
    assert cache_folder.index()["annotations"]["mirror.pins"] == (
        f"docker.io/library/alpine:1={image.digest} docker.io/library/ghost:latest"
    )
    for name in lost:
        shutil.rmtree(cache_folder.path / name)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        assert (await done(mirror, "GET", "pins"))["pins"] == [
            "docker.io/library/alpine:1",
            "docker.io/library/ghost:latest",
        ]
        await crowd(mirror, registry)
        assert all_of(image) <= cache_folder.digests()


async def test_pins_are_in_the_index_at_once(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    async with start_mirror() as mirror:
        await pin(mirror, "alpine")
        assert cache_folder.index()["annotations"]["mirror.pins"] == "docker.io/library/alpine:latest"
        await done(mirror, "DELETE", "pins/alpine")
        assert "mirror.pins" not in cache_folder.index()["annotations"]
        assert (await call(mirror, "DELETE", "pins/alpine"))[0] == 404


async def test_pins_that_leave_no_room_are_told_and_all_else_passes_through(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=4, size=MIB - 2048)
    registry.add_image(REPOSITORY, "1", image)
    small = content.blob(1024, "small")
    registry.put_blob(REPOSITORY, small)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await pull(mirror, "1", image)
        await get(mirror, f"/v2/{REPOSITORY}/blobs/{small.digest}")
        await pin(mirror, "alpine:1")
        assert await degraded(mirror) == [
            "pinned images take more than 90 % of cache.max_size: little of what is new is kept"
        ]
        assert await mirror.metric('mirror_degraded{trouble="pins_crowding"}') == 1
        await crowd(mirror, registry, 2)
        # Nothing was thrown out in vain.
        assert cache_folder.digests() == all_of(image) | {small.digest}
        await done(mirror, "DELETE", "pins/alpine:1")
        assert await degraded(mirror) == []


async def degraded(mirror: RunningMirror) -> list[str]:
    async with mirror.session.get(f"{mirror.admin_url}/readyz") as response:
        assert response.status == 200
        found: list[str] = (await response.json())["degraded"]
        return found


# Age. ----------------------------------------------------------------------------------------------------


def grow_old(folder: CacheFolder, seconds: float, *digests: str) -> None:
    """Have files been written so long ago; without an index, that counts as their last use. A mirror ran since."""
    (folder.path / "run" / NAME).write_text(json.dumps([time.time(), []]))
    for digest in digests:
        os.utime(folder.file(digest), (time.time() - seconds,) * 2)


async def test_what_has_not_been_used_for_so_long_goes_and_what_is_pinned_stays(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    old, pinned, used = (content.image(layers=1, seed=seed) for seed in ("old", "pinned", "used"))
    for tag, image in (("old", old), ("pinned", pinned), ("used", used)):
        registry.add_image(REPOSITORY, tag, image)
    async with start_mirror() as mirror:
        for tag, image in (("old", old), ("pinned", pinned), ("used", used)):
            await pull(mirror, tag, image)
        await pin(mirror, "alpine:pinned")
    shutil.rmtree(cache_folder.path / "index")
    grow_old(cache_folder, 100_000, *all_of(old), *all_of(pinned))
    grow_old(cache_folder, 80_000, *all_of(used))
    async with start_mirror(cache={"blob_ttl": "1d"}) as mirror:
        await until_metric(mirror, 'mirror_evictions_total{reason="age"}', 3)
        assert cache_folder.digests() == all_of(pinned) | all_of(used)
        assert await mirror.metric("mirror_evicted_age_seconds") == 0
        await until_metric(mirror, "mirror_cache_bytes", cache_folder.size())
        assert set(await listed(mirror)) == {"docker.io/library/alpine:pinned", "docker.io/library/alpine:used"}


async def test_without_a_limit_of_age_nothing_is_too_old(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blob = content.blob()
    registry.put_blob(REPOSITORY, blob)
    async with start_mirror() as mirror:
        await get(mirror, f"/v2/{REPOSITORY}/blobs/{blob.digest}")
        await until_metric(mirror, "mirror_fills_in_flight", 0)
    shutil.rmtree(cache_folder.path / "index")
    grow_old(cache_folder, 10 * 365 * 86400, blob.digest)
    async with start_mirror(cache={"blob_ttl": None}):
        assert cache_folder.digests() == {blob.digest}


async def test_the_age_of_what_was_evicted_last_tells_whether_the_cache_is_too_small(
    registry: FakeRegistry, start_mirror: StartMirror
) -> None:
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        assert await mirror.metric("mirror_evicted_age_seconds") == 0
        await crowd(mirror, registry, 5)
        assert 0 < await mirror.metric("mirror_evicted_age_seconds") < 60


# Several processes. --------------------------------------------------------------------------------------


async def test_what_one_process_pins_no_other_evicts(mirrors: Mirrors, registry: FakeRegistry) -> None:
    image = content.image(layers=1, size=MIB, seed="pinned")
    registry.add_image(REPOSITORY, "1", image)
    one, other = await mirrors.start(2, cache={"max_size": "4MiB"})
    assert (await one.get(f"/v2/{REPOSITORY}/manifests/1"))[0].status == 200
    for blob in image.blobs:
        await pull_blob(one, blob)
    await committed(mirrors.cache, *image.blobs)
    await steer(one, "POST", "pins", json={"image": "alpine:1"})
    for number in range(5):
        await pull_blob(other, put_blob(registry, MIB, number))
    await until(lambda: mirrors.cache.partials() == [], "all is at rest")
    assert all_of(image) <= mirrors.cache.digests()


async def test_who_pins_and_unpins_leaves_a_line_in_the_log(
    start_mirror: StartMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    async with start_mirror() as mirror:
        monkeypatch.setattr(mirror.mirror.logs, "notify", told.append)
        pins, name = f"{mirror.admin_url}/api/v1/pins", "docker.io/library/alpine:3.20"
        for _ in range(2):
            await (await mirror.session.post(pins, json={"image": name})).read()
        for _ in range(2):
            await (await mirror.session.delete(f"{pins}/{name}")).read()
    # Only what changed something.
    assert [event for event in told if isinstance(event, PinChanged)] == [
        PinChanged(name, True),
        PinChanged(name, False),
    ]
