"""A mirror that is offline: it serves what it has, whatever its age, asks nobody, and waits for nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from mirror.proxy.scrubbing.scrub import Thoroughness
from tests.fakes import content
from tests.fakes.auth import TokenAuth
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import configuration, run, serving, write
from tests.integration.conftest import RunningMirror, StartMirror, docker_io

IMAGE = content.image(layers=2)
OTHER = content.image(layers=1, seed="other")
LAYER = IMAGE.layers[0]
ALPINE = "library/alpine"
TAG = f"/v2/{ALPINE}/manifests/3.20"
BLOB = f"/v2/{ALPINE}/blobs/{LAYER.digest}"
LIST = f"/v2/{ALPINE}/tags/list"
REFERRERS = f"/v2/{ALPINE}/referrers/{IMAGE.digest}"
CACHED = {TAG: IMAGE.manifest.data, f"/v2/{ALPINE}/manifests/{IMAGE.digest}": IMAGE.manifest.data, BLOB: LAYER.data}
AT_ONCE_OLD = {"tag_ttl": "0s", "stale_if_error": "0s", "stale_while_revalidate": "0s", "negative_ttl": "0s"}


class Site:
    """A registry, and mirrors of it that have one cache, one after the other."""

    def __init__(self, start_mirror: StartMirror, journal: Journal, registry: FakeRegistry) -> None:
        self._start = start_mirror
        self._journal = journal
        self._registry = registry

    async def fill(self, *paths: str, **sections: Any) -> None:
        """Have these cached."""
        async with self._start(**sections) as mirror:
            for path in paths:
                response, body = await mirror.get(path)
                assert response.status == 200, body

    @asynccontextmanager
    async def offline(self, **sections: Any) -> AsyncIterator[RunningMirror]:
        """Run a mirror that is offline; nobody may hear of it, not even by a connection."""
        self._journal.clear()
        accepted = self._registry.accepted
        async with self._start(offline=True, freshness=AT_ONCE_OLD, **sections) as mirror, asyncio.timeout(15):
            yield mirror
        assert not self._journal.entries
        assert self._registry.accepted == accepted


@pytest.fixture
def site(start_mirror: StartMirror, journal: Journal, registry: FakeRegistry) -> Site:
    """A registry with an image, and nothing cached."""
    registry.add_image(ALPINE, "3.20", IMAGE)
    return Site(start_mirror, journal, registry)


async def refused(mirror: RunningMirror, path: str, method: str = "GET") -> str:
    """Return the message of a refusal, which is a 503 that came at once."""
    response, body = await mirror.get(path, method)
    assert response.status == 503
    assert response.headers["Cache-Status"] == "mirror; detail=upstream-offline"
    if method == "HEAD":
        return ""
    assert error_code(body) == "UNAVAILABLE"
    return str(json.loads(body)["errors"][0]["message"])


async def test_what_is_cached_is_served_whatever_its_age(site: Site) -> None:
    await site.fill(*CACHED, LIST, REFERRERS)
    async with site.offline() as mirror:
        for path, data in CACHED.items():
            for method in ("GET", "HEAD"):
                response, body = await mirror.get(path, method)
                assert (response.status, body) == (200, data if method == "GET" else b"")
                assert response.headers["Cache-Status"] == (
                    "mirror; fwd=stale; detail=offline" if path == TAG else "mirror; hit"
                )
        response, _ = await mirror.get(TAG)
        assert "is not asked, as the mirror is offline" in response.headers["Warning"]
        response, body = await mirror.get(LIST)
        assert (response.status, json.loads(body)["tags"]) == (200, ["3.20"])
        assert response.headers["Cache-Status"] == "mirror; fwd=stale; detail=offline"
        response, body = await mirror.get(REFERRERS)
        assert (response.status, json.loads(body)["manifests"]) == (200, [])
        response, body = await mirror.get(BLOB, headers={"Range": "bytes=10-19"})
        assert (response.status, body) == (206, LAYER.data[10:20])


async def test_what_is_not_cached_is_refused_at_once_with_what_to_do(site: Site) -> None:
    await site.fill(TAG)
    async with site.offline() as mirror:
        paths = [
            f"/v2/{ALPINE}/manifests/3.21",
            f"/v2/{ALPINE}/manifests/{OTHER.digest}",
            f"/v2/{ALPINE}/blobs/{LAYER.digest}",
            LIST,
            REFERRERS,
        ]
        for path in paths:
            await refused(mirror, path, "HEAD")
            message = await refused(mirror, path)
            assert message.startswith("the mirror is offline and this is not in its cache: with offline: false,")
        # One that is there for another repository is not there for this one.
        await refused(mirror, f"/v2/library/other/manifests/{IMAGE.digest}")
        assert await mirror.metric('mirror_requests_total{kind="blob",outcome="error",upstream="docker.io"}') == 2


async def test_a_type_that_a_client_does_not_take_is_not_asked_for(site: Site) -> None:
    await site.fill(TAG)
    async with site.offline() as mirror:
        response, _ = await mirror.get(TAG, headers={"Accept": content.DOCKER_MANIFEST})
        assert response.status == 503


async def test_a_download_that_was_cut_is_not_gone_on_with(site: Site, cache_folder: CacheFolder) -> None:
    await site.fill(TAG)
    cache_folder.partial(LAYER.digest).write_bytes(LAYER.data[:1000])
    async with site.offline() as mirror:
        await refused(mirror, BLOB)


async def test_readiness_and_a_line_at_the_start(site: Site) -> None:
    with structlog.testing.capture_logs() as logged:
        async with site.offline() as mirror, mirror.session.get(f"{mirror.admin_url}/readyz") as response:
            assert response.status == 200
    [line] = [line for line in logged if line["event"] == "offline"]
    assert line["meaning"] == "nobody is asked; what is cached is served, whatever its age"


async def test_a_scrub_finds_what_is_bad_and_asks_nobody_for_it(site: Site, cache_folder: CacheFolder) -> None:
    await site.fill(TAG, BLOB)
    file = cache_folder.file(LAYER.digest)
    file.chmod(0o644)
    file.write_bytes(bytes(len(LAYER.data)))
    async with site.offline() as mirror:
        [finding] = (await mirror.mirror.scrub.run(Thoroughness())).findings
        assert (str(finding.problem), str(finding.action)) == ("damaged", "removed")
        assert not file.exists()
        assert (await mirror.get(TAG))[0].status == 200


async def test_who_may_see_what_goes_by_what_was_seen_last(
    site: Site, registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    registry.add_image("library/secret", "1", OTHER)
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": "hunter2"}
    token_service.restrict("library/secret", "ci")
    (tmp_path / "password").write_text("hunter2")
    credentials = {"username": "ci", "password_file": str(tmp_path / "password")}
    upstream = {**docker_io(registry, token_service), "credentials": credentials, "auth_ttl": "0s"}
    secret = "/v2/library/secret/manifests/1"
    await site.fill(TAG, upstreams={"docker.io": upstream})
    await site.fill(secret, upstreams={"docker.io": {**upstream, "serve_private": "everyone"}})
    async with site.offline(upstreams={"docker.io": upstream}) as mirror:
        assert (await mirror.get(TAG))[0].status == 200
        assert "whether this repository is public cannot be told" in await refused(mirror, secret)


# Commands. ---------------------------------------------------------------------------------------------------


async def test_the_environment_takes_a_mirror_offline_and_the_commands_say_so(
    site: Site, registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path, journal: Journal
) -> None:
    await site.fill(TAG)
    file = write(configuration(registry, token_service, tmp_path), tmp_path)
    environment = {"MIRROR_OFFLINE": "true", "MIRROR_FRESHNESS__TAG_TTL": "0s"}
    journal.clear()
    async with serving(configuration(registry, token_service, tmp_path), tmp_path, environment) as mirror:
        url = f"http://{mirror.address('admin')}"
        shown = await run("show", "alpine:3.20", "--server", url, folder=tmp_path, environment=environment)
        assert (shown.code, shown.stderr) == (0, "")
        assert (
            "stale: the mirror is offline: what is cached is served, whatever its age, and nobody is asked"
            in shown.stdout
        )
        assert "usable for ever" in shown.stdout
    assert not journal.entries
    checked = await run("check", "alpine:3.20", "--config", file, folder=tmp_path, environment=environment)
    assert checked.code == 0
    assert "offline: true: this check has asked them all the same; serving asks nobody" in checked.stdout
    wrong = await run("check", folder=tmp_path, environment={"MIRROR_OFFLINE": "perhaps"})
    assert (wrong.code, wrong.stderr.startswith("mirror: offline: ")) == (78, True)
