"""What upstream has deleted: passed on, or served for `keep_deleted`, of which everybody is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.fakes import content, faults
from tests.fakes.auth import TokenAuth
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import check_cache_status, refused
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import run
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.steering import done, listed

IMAGE = content.image(layers=1, seed="deleted")
OTHER = content.image(layers=1, seed="other")
TAG = "/v2/owner/app/manifests/1.0"
LIST = "/v2/owner/app/tags/list"
NAME = "docker.io/owner/app:1.0"
KEEPING = {"tag_ttl": "0s", "keep_deleted": "30d"}
DELETED = "mirror; fwd=stale; detail=deleted-upstream"
COUNT = 'mirror_deleted_upstream_total{upstream="docker.io"}'


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    registry.add_image("owner/app", "2.0", OTHER)


async def pull(mirror: RunningMirror) -> str:
    """Pull the whole image, which must be there; return the Cache-Status of its tag."""
    response, body = await mirror.get(TAG)
    assert (response.status, body) == (200, IMAGE.manifest.data)
    check_cache_status(response.headers["Cache-Status"])
    for blob in IMAGE.blobs:
        assert (await mirror.get(f"/v2/owner/app/blobs/{blob.digest}"))[1] == blob.data
    return response.headers["Cache-Status"]


async def test_it_is_passed_on_where_nothing_is_kept(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await pull(mirror)
        registry.remove_tag("owner/app", "1.0")
        assert await refused(mirror, TAG) == (404, "MANIFEST_UNKNOWN")
        assert await mirror.metric(COUNT) == 0


async def test_it_is_served_and_everybody_is_told(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    journal: Journal,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    async with start_mirror(freshness=KEEPING) as mirror:
        await pull(mirror)
        registry.remove_tag("owner/app", "1.0")
        journal.clear()
        for method in ("GET", "HEAD", "GET"):
            response, _ = await mirror.get(TAG, method)
            assert (response.status, response.headers["Cache-Status"]) == (200, DELETED)
            assert response.headers["Docker-Content-Digest"] == IMAGE.digest
            assert response.headers["Warning"].startswith('299 - "stale: upstream has deleted this tag, last confirmed')
            assert response.headers["Age"].isdecimal()
        assert await pull(mirror) == DELETED
        assert journal.paths() == [f"HEAD {TAG}"]
        assert await mirror.metric(COUNT) == 1
        [line] = [line for line in capsys.readouterr().out.splitlines() if "deleted upstream" in line]
        assert "warning" in line
        assert f"image={NAME} " in line
        shown = await done(mirror, "GET", "images/owner/app:1.0")
        assert (shown["state"], (await listed(mirror))[NAME]["state"]) == ("kept", "kept")
        assert shown["validated_at"] <= shown["deleted_at"] < shown["deleted_until"]
        server = ("--server", mirror.admin_url)
        lines = (await run("show", "owner/app:1.0", *server, folder=tmp_path)).stdout
        assert (
            "  pull    kept: upstream has deleted the tag; what is cached is served all the same (keep_deleted)\n"
            in lines
        )
        assert "seen to be deleted upstream " in lines
        assert "served for another 29 d" in lines
        assert " kept" in (await run("ls", *server, folder=tmp_path)).stdout


@pytest.mark.parametrize("lost", [[], ["records"]], ids=["nothing lost", "records lost"])
async def test_a_restart_remembers_since_when(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder, lost: list[str]
) -> None:
    async with start_mirror(freshness=KEEPING) as mirror:
        await pull(mirror)
        registry.remove_tag("owner/app", "1.0")
        assert await pull(mirror) == DELETED
        since = (await done(mirror, "GET", "images/owner/app:1.0"))["deleted_at"]
    for folder in lost:
        shutil.rmtree(cache_folder.path / folder)
    async with start_mirror(freshness=KEEPING) as mirror:
        assert await pull(mirror) == DELETED
        assert (await done(mirror, "GET", "images/owner/app:1.0"))["deleted_at"] == since
        assert await mirror.metric(COUNT) == 0
    async with start_mirror(freshness=KEEPING) as mirror:
        # Nor does it depend on upstream's saying so again.
        await registry.stop()
        assert await pull(mirror) == DELETED
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        assert await refused(mirror, TAG) == (502, "UNAVAILABLE")


async def test_it_is_normal_again_once_it_is_back(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness={**KEEPING, "negative_ttl": "0s"}) as mirror:
        await pull(mirror)
        registry.remove_tag("owner/app", "1.0")
        assert await pull(mirror) == DELETED
        registry.move_tag("owner/app", "1.0", OTHER)
        response, body = await mirror.get(TAG)
        assert (response.status, body) == (200, OTHER.manifest.data)
        assert "Warning" not in response.headers
        shown = await done(mirror, "GET", "images/owner/app:1.0")
        assert (shown["state"], shown["deleted_at"]) == ("stale", None)


async def test_a_repository_that_is_gone_keeps_its_images_and_not_its_lists(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness=KEEPING) as mirror:
        await pull(mirror)
        assert (await mirror.get(LIST))[0].status == 200
        registry.remove_repository("owner/app")
        assert await pull(mirror) == DELETED
        assert await refused(mirror, LIST) == (404, "NAME_UNKNOWN")
        assert await refused(mirror, "/v2/owner/app/manifests/3.0") == (404, "MANIFEST_UNKNOWN")


async def test_a_denied_repository_is_not_deleted(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness={**KEEPING, "negative_ttl": "0s"}) as mirror:
        await pull(mirror)
        registry.always("/v2/*", faults.status(403))
        assert await refused(mirror, TAG) == (403, "DENIED")
        registry.heal()
        await registry.stop()
        assert await refused(mirror, TAG) == (502, "UNAVAILABLE")


async def test_what_docker_hub_says_of_a_repository_that_is_gone_is_a_deletion_to_who_has_no_credentials(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService
) -> None:
    registry.auth = TokenAuth(token_service)
    async with start_mirror(freshness=KEEPING) as mirror:
        await pull(mirror)
        registry.remove_repository("owner/app")
        token_service.restrict("owner/*", "nobody")
        registry.revoke_tokens()
        assert await pull(mirror) == DELETED


async def test_what_credentials_have_opened_is_not_kept_once_they_do_not_any_more(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": "secret", "other": "secret"}
    token_service.restrict("owner/*", "ci")
    (tmp_path / "password").write_text("secret")
    upstream = {**docker_io(registry, token_service), "serve_private": "everyone"}
    credentials = {"username": "ci", "password_file": str(tmp_path / "password")}
    upstreams = {"docker.io": {**upstream, "credentials": credentials}}
    freshness = {**KEEPING, "negative_ttl": "0s"}
    async with start_mirror(freshness=freshness, upstreams=upstreams) as mirror:
        await pull(mirror)
        registry.remove_tag("owner/app", "1.0")
        assert await pull(mirror) == DELETED
        token_service.restrict("owner/*", "other")
        registry.revoke_tokens()
        assert await refused(mirror, TAG) == (403, "DENIED")
        token_service.restrict("owner/*", "ci")
        registry.add_image("owner/app", "1.0", IMAGE)
        await pull(mirror)
    # Nor once the mirror has none any more.
    async with start_mirror(freshness=freshness, upstreams={"docker.io": upstream}) as mirror:
        assert await refused(mirror, TAG) == (403, "DENIED")


async def test_with_credentials_that_open_nothing_to_clients_only_what_is_public_is_kept(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": "secret"}
    (tmp_path / "password").write_text("secret")
    credentials = {"username": "ci", "password_file": str(tmp_path / "password")}
    upstream = {**docker_io(registry, token_service), "credentials": credentials, "auth_ttl": "0s"}
    freshness = {**KEEPING, "negative_ttl": "0s"}
    async with start_mirror(freshness=freshness, upstreams={"docker.io": upstream}) as mirror:
        await pull(mirror)
        registry.remove_tag("owner/app", "1.0")
        # Anybody can see another tag of the repository.
        assert await pull(mirror) == DELETED
        token_service.restrict("owner/*", "ci")
        registry.revoke_tokens()
        # Nobody can tell whether it is gone, or only not for everybody.
        assert await refused(mirror, TAG) == (403, "DENIED")
        assert await refused(mirror, f"/v2/owner/app/blobs/{IMAGE.layers[0].digest}") == (403, "DENIED")


async def test_records_of_a_cache_of_before_are_read(start_mirror: StartMirror, cache_folder: CacheFolder) -> None:
    async with start_mirror() as mirror:
        await pull(mirror)
    index = json.loads((cache_folder.path / "index.json").read_text())
    assert not any("mirror.gone-since" in (one.get("annotations") or {}) for one in index["manifests"])
    shutil.rmtree(cache_folder.path / "records")
    async with start_mirror(freshness={"keep_deleted": "30d"}) as mirror:
        assert await pull(mirror) == "mirror; hit"
