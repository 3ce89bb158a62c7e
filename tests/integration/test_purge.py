"""Purge: an image and what only it holds go at once, for every process; nobody who reads is disturbed."""

from __future__ import annotations

import asyncio

from mirror.oci.digest import Digest
from tests.fakes import content
from tests.fakes.faults import stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder, all_of
from tests.integration.conftest import StartMirror, docker_io
from tests.integration.processes import Mirrors, committed, mirrors
from tests.integration.raw_http import raw_client
from tests.integration.steering import REPOSITORY, call, done, get, listed, pin, pull, steer
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024

__all__ = ["mirrors"]


async def test_a_purged_image_is_a_miss_and_is_fetched_again(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=2)
    registry.add_image(REPOSITORY, "3.20", image)
    async with start_mirror() as mirror:
        await pull(mirror, "3.20", image)
        report = await done(mirror, "DELETE", "images/alpine:3.20")
        assert report == {
            "images": ["docker.io/library/alpine:3.20"],
            "files": 4,
            "bytes": image.manifest.size + sum(blob.size for blob in image.blobs),
            "shared_files": 0,
            "under_way": 0,
        }
        assert cache_folder.digests() == set()
        assert await listed(mirror) == {}
        await until_metric(mirror, "mirror_cache_bytes", 0)
        assert (await call(mirror, "GET", "images/alpine:3.20"))[0] == 404
        journal.clear()
        assert await get(mirror, f"/v2/{REPOSITORY}/manifests/3.20") == "mirror; fwd=miss; stored"
        assert "fwd=miss" in await get(mirror, f"/v2/{REPOSITORY}/blobs/{image.layers[0].digest}")
        assert journal.count("GET", f"/v2/{REPOSITORY}/blobs/{image.layers[0].digest}") == 1


async def test_what_other_images_hold_stays_and_so_do_their_names(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    gone, stays = content.image(layers=1, seed="gone"), content.image(layers=1, seed="stays")
    first, second = content.index(gone, stays), content.index(stays)
    registry.add_image(REPOSITORY, "first", first)
    registry.add_image(REPOSITORY, "second", second)
    registry.add_image(REPOSITORY, "same", first)
    async with start_mirror() as mirror:
        await pull(mirror, "first", gone, stays)
        await pull(mirror, "second")
        await pull(mirror, "same")
        report = await done(mirror, "DELETE", "images/alpine:same")
        assert (report["files"], report["shared_files"]) == (0, 1 + 3 + 3)
        report = await done(mirror, "DELETE", "images/alpine:first")
        assert (report["files"], report["shared_files"]) == (1 + 3, 3)
        assert cache_folder.digests() == {second.digest} | all_of(stays)
        journal.clear()
        assert await get(mirror, f"/v2/{REPOSITORY}/manifests/{stays.digest}") == "mirror; hit"
        assert await get(mirror, f"/v2/{REPOSITORY}/blobs/{stays.layers[0].digest}") == "mirror; hit"
        assert journal.entries == []


async def test_what_another_repository_holds_stays_and_this_one_has_to_ask_for_it(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1)
    for repository in (REPOSITORY, "owner/app"):
        registry.add_image(repository, "1", image)
    async with start_mirror() as mirror:
        await pull(mirror, "1", image)
        await pull(mirror, "1", image, name="owner/app")
        report = await done(mirror, "DELETE", "images/alpine:1")
        assert (report["files"], report["shared_files"]) == (0, 3)
        assert cache_folder.digests() == all_of(image)
        assert await get(mirror, f"/v2/owner/app/blobs/{image.layers[0].digest}") == "mirror; hit"
        assert "access-confirmed" in await get(mirror, f"/v2/{REPOSITORY}/blobs/{image.layers[0].digest}")


async def test_a_digest_goes_with_the_tags_that_point_to_it(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image, other = content.image(layers=1, seed="one"), content.image(layers=1, seed="other")
    for tag, tagged in (("1", image), ("1.0", image), ("2", other)):
        registry.add_image(REPOSITORY, tag, tagged)
    async with start_mirror() as mirror:
        for tag, tagged in (("1", image), ("1.0", image), ("2", other)):
            await pull(mirror, tag, tagged)
        report = await done(mirror, "DELETE", f"images/alpine@{image.digest}")
        assert report["images"] == [
            "docker.io/library/alpine:1",
            "docker.io/library/alpine:1.0",
            f"docker.io/library/alpine@{image.digest}",
        ]
        assert set(await listed(mirror)) == {"docker.io/library/alpine:2"}
        assert cache_folder.digests() == all_of(other)


async def test_a_repository_goes_with_all_its_images(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    images = [content.image(layers=1, seed=number) for number in range(3)]
    for number, image in enumerate(images):
        registry.add_image(REPOSITORY, f"{number}", image)
    registry.add_image("owner/app", "1", images[2])
    async with start_mirror() as mirror:
        for number, image in enumerate(images[:2]):
            await pull(mirror, f"{number}", image)
        await pull(mirror, images[1].digest)
        await pull(mirror, "1", images[2], name="owner/app")
        assert (await call(mirror, "DELETE", "repositories/alpine:0"))[0] == 400
        report = await done(mirror, "DELETE", "repositories/alpine")
        assert (len(report["images"]), report["files"]) == (2, 6)
        assert cache_folder.digests() == all_of(images[2])
        assert (await call(mirror, "DELETE", "repositories/alpine"))[0] == 404
        assert "docker.io/library/alpine" not in str(cache_folder.index())


async def test_what_is_pinned_is_not_purged(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1)
    for tag in ("1", "1.0"):
        registry.add_image(REPOSITORY, tag, image)
    async with start_mirror() as mirror:
        for tag in ("1", "1.0"):
            await pull(mirror, tag, image)
        await pin(mirror, "alpine:1")
        for path in ("images/alpine:1", f"images/alpine@{image.digest}", "repositories/alpine"):
            status, document = await call(mirror, "DELETE", path)
            assert (status, document["error"]["code"]) == (409, "still-pinned")
            assert document["error"]["message"] == "docker.io/library/alpine:1 is pinned: unpin it first"
        # Another name of the same content goes; the content stays.
        assert (await done(mirror, "DELETE", "images/alpine:1.0"))["files"] == 0
        assert cache_folder.digests() == all_of(image)


async def test_who_reads_what_is_purged_reads_on(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1, size=16 * MIB)
    registry.add_image(REPOSITORY, "1", image)
    layer = image.layers[0]
    async with start_mirror() as mirror:
        await pull(mirror, "1", image)
        async with raw_client(mirror, receive_buffer=4096) as client:
            await client.ask(f"/v2/{REPOSITORY}/blobs/{layer.digest}")
            assert (await client.head()).status == 200
            assert (await done(mirror, "DELETE", "images/alpine:1"))["files"] == 3
            assert not cache_folder.file(layer.digest).exists()
            assert await client.exactly(layer.size) == layer.data


async def test_what_is_on_its_way_goes_on_and_is_kept(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1, size=MIB)
    registry.add_image(REPOSITORY, "1", image)
    layer, gate = image.layers[0], Gate()
    path = f"/v2/{REPOSITORY}/blobs/{layer.digest}"
    registry.fault(path, stop_at(MIB // 2, gate))
    async with start_mirror() as mirror:
        await pull(mirror, "1")
        reader = asyncio.create_task(mirror.get(path))
        await gate.reached()
        report = await done(mirror, "DELETE", "images/alpine:1")
        assert (report["files"], report["under_way"]) == (1, 1)
        gate.open()
        assert (await reader)[1] == layer.data
        await until(lambda: cache_folder.digests() == {layer.digest}, "the layer is kept")


async def test_what_a_fill_has_left_goes_as_well(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1, size=MIB)
    registry.add_image(REPOSITORY, "1", image)
    async with start_mirror() as mirror:
        await pull(mirror, "1")
        left = cache_folder.partial(image.layers[0].digest)
        left.write_bytes(image.layers[0].data[:1000])
        assert (await done(mirror, "DELETE", "images/alpine:1"))["under_way"] == 0
        assert not left.exists()


async def test_what_was_purged_does_not_come_back_by_a_restart(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1)
    registry.add_image(REPOSITORY, "1", image)
    async with start_mirror() as mirror:
        await pull(mirror, "1", image)
        await done(mirror, "DELETE", "images/alpine:1")
    async with start_mirror() as mirror:
        assert await listed(mirror) == {}
        assert await get(mirror, f"/v2/{REPOSITORY}/manifests/1") == "mirror; fwd=miss; stored"


async def test_what_one_process_purges_every_process_asks_for_again(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal
) -> None:
    image = content.image(layers=1, size=1000)
    registry.add_image(REPOSITORY, "1", image)
    paths = [
        f"/v2/{REPOSITORY}/manifests/1",
        f"/v2/{REPOSITORY}/manifests/{image.digest}",
        f"/v2/{REPOSITORY}/blobs/{image.layers[0].digest}",
    ]
    one, other = await mirrors.start(2)

    async def statuses() -> list[str]:
        answers = [await mirror.get(path) for path in paths for mirror in (one, other)]
        assert {response.status for response, _ in answers} == {200}
        return [response.headers["Cache-Status"] for response, _ in answers]

    await statuses()
    await committed(mirrors.cache, image.layers[0])
    # Both have it in memory.
    assert await statuses() == ["mirror; hit"] * 6
    assert (await steer(one, "DELETE", "images/alpine:1"))["files"] == 2
    assert mirrors.cache.digests() == set()
    for path in paths[1:]:
        response, _ = await other.get(path)
        assert response.headers["Cache-Status"] == "mirror; fwd=miss; stored"
    response, _ = await other.get(paths[0])
    assert "fwd-status=200" in response.headers["Cache-Status"]


# What a tag is to clients that take other types. ---------------------------------------------------------


async def test_a_tag_goes_with_what_it_is_to_other_clients(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    listed_image = content.index(docker=True)
    registry.add_image(REPOSITORY, "1", listed_image)
    taken = {"Accept": content.DOCKER_MANIFEST}
    path = f"/v2/{REPOSITORY}/manifests/1"
    async with start_mirror() as mirror:
        await get(mirror, path)
        _, taken_as = await mirror.get(path, headers=taken)
        only = str(Digest.of(taken_as))
        shown = await done(mirror, "GET", "images/alpine:1")
        assert (shown["digest"], [part["digest"] for part in shown["variants"]]) == (listed_image.digest, [only])
        assert (await done(mirror, "DELETE", "images/alpine:1"))["images"] == ["docker.io/library/alpine:1"]
        assert cache_folder.digests() == set()
        response, _ = await mirror.get(path, headers=taken)
        assert "fwd=miss" in response.headers["Cache-Status"]


# Lists, and registries that are gone. --------------------------------------------------------------------


async def test_a_repository_goes_with_its_lists_of_tags_and_referrers(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image, elsewhere = content.image(layers=0), content.image(layers=0, seed="elsewhere")
    for name in (REPOSITORY, "owner/app"):
        registry.add_image(name, "1", image)
    async with start_mirror() as mirror:
        for name in (REPOSITORY, "owner/app"):
            await pull(mirror, "1", name=name)
            await get(mirror, f"/v2/{name}/tags/list")
            for digest in (image.digest, elsewhere.digest):
                await get(mirror, f"/v2/{name}/referrers/{digest}")
        lists = cache_folder.path / "listings"
        assert len(list(lists.iterdir())) == 6
        await done(mirror, "DELETE", "images/alpine:1")
        assert len(list(lists.iterdir())) == 5
        assert "fwd=miss" in await get(mirror, f"/v2/{REPOSITORY}/referrers/{image.digest}")
        await pull(mirror, "1")
        await done(mirror, "DELETE", "repositories/alpine")
        assert len(list(lists.iterdir())) == 3
        assert "fwd=miss" in await get(mirror, f"/v2/{REPOSITORY}/referrers/{elsewhere.digest}")
        assert "fwd=miss" in await get(mirror, f"/v2/{REPOSITORY}/tags/list")
        for path in ("tags/list", f"referrers/{image.digest}", f"referrers/{elsewhere.digest}"):
            assert await get(mirror, f"/v2/owner/app/{path}") == "mirror; hit"


async def test_what_is_left_of_a_registry_that_is_configured_no_more_can_be_seen_and_purged(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    cache_folder: CacheFolder,
) -> None:
    image = content.image(layers=0)
    registry.add_image("owner/app", "1", image)
    upstream = docker_io(registry, token_service)
    async with start_mirror(upstreams={"docker.io": upstream, "old.example": upstream}) as mirror:
        await get(mirror, "/v2/old.example/owner/app/manifests/1")
        await pin(mirror, "old.example/owner/app:1")
    async with start_mirror() as mirror:
        assert (await listed(mirror))["old.example/owner/app:1"]["state"] == "denied"
        assert (await call(mirror, "DELETE", "pins/old.example/owner/app:2"))[0] == 404
        await done(mirror, "DELETE", "pins/old.example/owner/app:1")
        for path in (
            "images/old.example/owner/app:2",
            "repositories/old.example/owner",
            "images/old.example/owner/app",
        ):
            status, document = await call(mirror, "DELETE", path)
            assert (status, document["error"]["code"]) == (404, "unknown-registry")
        assert (await call(mirror, "POST", "pins", json={"image": "old.example/owner/app:1"}))[0] == 404
        assert (await done(mirror, "DELETE", "images/old.example/owner/app:1"))["files"] == 1
        assert (await call(mirror, "DELETE", "repositories/old.example/owner/app"))[0] == 404
        assert cache_folder.digests() == set()
