"""What is cached, as the admin API tells it; and who may ask."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import StartMirror
from tests.integration.steering import REPOSITORY, call, done, get, listed, pin, pull
from tests.integration.test_pins import grow_old

IMAGE = content.image(layers=2, seed="image")
OTHER = content.image(layers=1, seed="other")
INDEX = content.index(IMAGE, OTHER)


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry) -> None:
    """An index at upstream, and one of its images by another tag."""
    registry.add_image(REPOSITORY, "3.20", INDEX)
    registry.add_image(REPOSITORY, "other", OTHER)


def size_of(image: content.FakeImage) -> int:
    return image.manifest.size + sum(blob.size for blob in image.blobs)


async def test_images_are_listed_with_what_they_take_and_share(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        assert await listed(mirror) == {}
        await pull(mirror, "3.20", IMAGE, OTHER)
        await pull(mirror, "other")
        await pin(mirror, "alpine:other")
        images = await listed(mirror)
        assert list(images) == ["docker.io/library/alpine:3.20", "docker.io/library/alpine:other"]
        index, other = images.values()
        assert (index["digest"], other["digest"]) == (INDEX.digest, OTHER.digest)
        assert index["bytes"] == INDEX.manifest.size + size_of(IMAGE) + size_of(OTHER)
        assert index["unshared_bytes"] == INDEX.manifest.size + size_of(IMAGE)
        assert (other["bytes"], other["unshared_bytes"]) == (size_of(OTHER), 0)
        assert (index["state"], index["pinned"], other["pinned"]) == ("hit", False, True)
        assert (index["kept_until"] > index["used_at"], other["kept_until"]) == (True, None)
        assert set(await listed(mirror, "other")) == {"docker.io/library/alpine:other"}
        assert await listed(mirror, "debian") == {}


async def test_what_was_pulled_by_its_digest_is_an_image_too_if_no_other_holds_it(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        await get(mirror, f"/v2/{REPOSITORY}/manifests/{OTHER.digest}")
        assert set(await listed(mirror)) == {f"docker.io/library/alpine@{OTHER.digest}"}
        await get(mirror, f"/v2/{REPOSITORY}/manifests/3.20")
        assert set(await listed(mirror)) == {"docker.io/library/alpine:3.20"}


async def test_an_image_is_shown_with_its_parts_cached_or_not(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, "3.20", IMAGE)
        shown = await done(mirror, "GET", "images/alpine:3.20")
        assert shown["image"] == "docker.io/library/alpine:3.20"
        assert (shown["state"], shown["pins"]) == ("hit", [])
        assert shown["validated_at"] < shown["fresh_until"] < shown["stale_until"]
        here, missing = shown["parts"]
        assert (here["platform"], here["digest"], here["cached"]) == ("linux/amd64", IMAGE.digest, True)
        assert (missing["platform"], missing["digest"], missing["cached"]) == ("linux/arm64", OTHER.digest, False)
        assert (missing["bytes"], missing["used_at"], missing["parts"]) == (OTHER.manifest.size, None, [])
        assert [part["digest"] for part in here["parts"]] == [
            *(layer.digest for layer in IMAGE.layers),
            IMAGE.config.digest,
        ]
        assert {part["cached"] for part in here["parts"]} == {True}


@pytest.mark.parametrize(
    ("freshness", "state"),
    [
        ({}, "hit"),
        ({"tag_ttl": "0s"}, "stale"),
        ({"tag_ttl": "0s", "stale_if_error": "0s"}, "miss"),
    ],
)
async def test_what_is_told_of_a_pull_is_what_a_pull_is(
    registry: FakeRegistry, start_mirror: StartMirror, freshness: dict[str, str], state: str
) -> None:
    async with start_mirror(freshness=freshness) as mirror:
        await pull(mirror, "other")
        shown = await done(mirror, "GET", "images/alpine:other")
        assert shown["state"] == state
        await registry.stop()
        response, _ = await mirror.get(f"/v2/{REPOSITORY}/manifests/other")
        told = response.headers["Cache-Status"]
        assert {"hit": told == "mirror; hit", "stale": "fwd=stale" in told, "miss": response.status == 502}[state]


async def test_looking_is_no_use(start_mirror: StartMirror, cache_folder: CacheFolder) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, "other", OTHER)
    shutil.rmtree(cache_folder.path / "index")
    grow_old(cache_folder, 5000, *cache_folder.digests())
    async with start_mirror() as mirror:
        before = await listed(mirror)
        await done(mirror, "GET", "images/alpine:other")
        assert await listed(mirror) == before


@pytest.mark.parametrize(
    ("image", "status", "message"),
    [
        ("alpine", 404, "docker.io/library/alpine:latest is not cached; of this repository there is 3.20"),
        ("debian:12", 404, "docker.io/library/debian:12 is not cached"),
        ("owner/app", 404, "docker.io/owner/app:latest is not cached"),
        ("docker.io/alpine:1", 404, "docker.io/library/alpine:1 is not cached; of this repository there is 3.20"),
        (f"alpine:3.20@sha256:{'0' * 64}", 404, f"docker.io/library/alpine@sha256:{'0' * 64} is not cached; of this"),
        (
            "ghcr.io/owner/app",
            404,
            "ghcr.io is not among the mirror's upstreams; to mirror it, name it under upstreams",
        ),
        (
            "localhost:5000/x",
            404,
            "localhost:5000 is not among the mirror's upstreams; to mirror it, name it under upstreams",
        ),
        (f"sha256:{'0' * 64}", 400, "a digest belongs to a repository: REPOSITORY@DIGEST"),
        ("UPPER", 400, "a repository name is "),
        ("alpine:-", 400, "a tag is up to 128"),
        ("alpine@sha256:0", 400, "a digest is sha256 and 64"),
        ("a%1b[31m", 400, "a repository name is "),
    ],
)
async def test_what_is_not_there_is_a_sentence(
    start_mirror: StartMirror, image: str, status: int, message: str
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, "3.20")
        for method in ("GET", "DELETE"):
            answer = await call(mirror, method, f"images/{image}")
            assert answer[0] == status
            assert answer[1]["error"]["message"].startswith(message)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("path", ["", "images", "images/alpine", "nothing"])
async def test_what_there_is_not_is_an_error_document(start_mirror: StartMirror, method: str, path: str) -> None:
    async with start_mirror() as mirror:
        status, document = await call(mirror, method, path)
        assert (status, document["error"]["code"]) == (404, "unknown-path")


# Who may. ------------------------------------------------------------------------------------------------

CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "pins", {"json": {"image": "alpine"}}),
    ("DELETE", "pins/alpine", {}),
    ("DELETE", "images/alpine", {}),
    ("DELETE", "repositories/alpine", {}),
]
READS: list[tuple[str, str, dict[str, Any]]] = [("GET", "images", {}), ("GET", "pins", {})]


async def refusals(mirror: Any, calls: list[tuple[str, str, dict[str, Any]]], **headers: str) -> set[str]:
    """Return how the calls are refused before anybody looks at what they ask; empty if they are not."""
    answers = [await call(mirror, method, path, **options, headers=headers) for method, path, options in calls]
    codes = {document.get("error", {}).get("code", "") for _, document in answers}
    return codes - {"", "not-cached", "not-pinned"}


async def test_a_name_that_anybody_may_give_this_address_is_refused(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        for host in ("evil.example", "evil.example:5001", "127.0.0.1.evil.example", ""):
            assert await refusals(mirror, READS + CHANGES, Host=host) == {"host-unknown"}
        for host in ("127.0.0.1:5001", "localhost", "localhost:5001", "[::1]:5001", "192.0.2.1"):
            assert await refusals(mirror, READS + CHANGES, Host=host) == set()


async def test_a_web_page_changes_nothing(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        assert await refusals(mirror, CHANGES, Origin="http://127.0.0.1:8000") == {"browser"}
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            answer = await call(mirror, "POST", "pins", data=b'{"image": "alpine"}', headers={"Content-Type": kind})
            assert answer[0] == 415
        assert (await done(mirror, "GET", "pins"))["pins"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"image": 1}', b'"alpine"', b"[" * 5000, b" " * 20_000])
async def test_a_body_that_names_no_image_is_refused(start_mirror: StartMirror, body: bytes) -> None:
    async with start_mirror() as mirror:
        status, document = await call(mirror, "POST", "pins", data=body, headers={"Content-Type": "application/json"})
        assert (status, document["error"]["message"]) == (400, 'the body is {"image": "NAME"}')


async def test_with_a_token_nothing_is_changed_without_it(start_mirror: StartMirror, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    async with start_mirror(admin={"token_file": str(tmp_path / "token")}) as mirror:
        assert await refusals(mirror, READS) == set()
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic s3cret"},
            {"Authorization": "Bearer \xe9"},
        ):
            assert await refusals(mirror, CHANGES, **headers) == {"token-wrong"}
        assert await refusals(mirror, CHANGES, Authorization="Bearer s3cret") == set()
        assert await refusals(mirror, READS + CHANGES, Authorization="bearer s3cret", Host="mirror.lan") == set()


async def test_where_others_can_reach_it_nothing_is_changed_without_a_token(start_mirror: StartMirror) -> None:
    async with start_mirror(admin={"listen": "0.0.0.0:0"}) as mirror:
        url = f"http://127.0.0.1:{mirror.mirror.admin.address.rpartition(':')[2]}/api/v1"
        async with mirror.session.get(f"{url}/images") as response:
            assert response.status == 200
        for method, path, options in CHANGES:
            async with mirror.session.request(method, f"{url}/{path}", **options) as response:
                assert response.status == 403
                assert (await response.json())["error"]["code"] == "token-missing"
