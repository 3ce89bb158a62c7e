"""An endpoint with a path, with authorities of its own, unverified, and with a time-out of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from mirror.proxy.deadline import ANSWER_WITHIN, answer_within
from tests.fakes import content
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.listing import ABSOLUTE, RELATIVE, Pages
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.command import run, write
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.tls import server_context

IMAGE = content.image()
LAYER = IMAGE.layers[0]
ALPINE = "library/alpine"
MANIFEST = f"/v2/{ALPINE}/manifests/3.20"
BLOB = f"/v2/{ALPINE}/blobs/{LAYER.digest}"


async def got(mirror: RunningMirror, path: str) -> bytes:
    """Return what is answered with a 200."""
    response, body = await mirror.get(path)
    assert response.status == 200, body
    return body


# A path. -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_path_of_an_endpoint_goes_before_names(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    start_mirror: StartMirror,
    slash: str,
) -> None:
    registry.add_image(f"team/hub/{ALPINE}", "3.20", IMAGE)
    upstream = {**docker_io(registry, token_service), "endpoints": f"{registry.url}/team/hub{slash}"}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        assert await got(mirror, MANIFEST) == IMAGE.manifest.data
        assert await got(mirror, BLOB) == LAYER.data
        assert json.loads(await got(mirror, f"/v2/{ALPINE}/tags/list")) == {"name": ALPINE, "tags": ["3.20"]}
        assert json.loads(await got(mirror, f"/v2/{ALPINE}/referrers/{IMAGE.digest}"))["manifests"] == []
    assert {entry.path.partition("/team/hub/")[0] for entry in journal.entries} == {"/v2"}


async def test_a_token_is_for_the_repository_as_it_is_called_there(
    registry: FakeRegistry, token_service: FakeTokenService, start_mirror: StartMirror
) -> None:
    registry.auth = TokenAuth(token_service)
    registry.add_image(f"hub/{ALPINE}", "3.20", IMAGE)
    upstream = {**docker_io(registry, token_service), "endpoints": f"{registry.url}/hub"}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        await got(mirror, MANIFEST)
        # What is asked now is asked with a scope that the mirror made itself.
        registry.revoke_tokens()
        await got(mirror, BLOB)
    scopes = {scope for token in token_service.issued.values() for scope in token.scopes}
    assert scopes == {f"repository:hub/{ALPINE}:pull"}


@pytest.mark.parametrize("link", [RELATIVE, ABSOLUTE])
async def test_pages_go_on_below_the_path(
    registry: FakeRegistry, token_service: FakeTokenService, start_mirror: StartMirror, link: str
) -> None:
    registry.pages = Pages(limit=2, link=link)
    for tag in ("1", "2", "3", "4", "5"):
        registry.add_image(f"hub/{ALPINE}", tag, IMAGE)
    upstream = {**docker_io(registry, token_service), "endpoints": f"{registry.url}/hub"}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        listed = json.loads(await got(mirror, f"/v2/{ALPINE}/tags/list"))
    assert listed == {"name": ALPINE, "tags": ["1", "2", "3", "4", "5"]}


async def test_endpoints_of_an_upstream_may_have_paths_or_not(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    start_mirror: StartMirror,
) -> None:
    other_registry.add_image(ALPINE, "3.20", IMAGE)
    await registry.stop()
    urls = [f"{registry.url}/hub", other_registry.url]
    upstream = {**docker_io(registry, token_service), "endpoints": urls}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        assert await got(mirror, MANIFEST) == IMAGE.manifest.data
        # A name that the first has no place for is the second one's to judge.
        long = f"{'a' * 252}"
        other_registry.absent(f"/v2/library/{long[:240]}/*")
        response, body = await mirror.get(f"/v2/library/{long[:240]}/manifests/1")
        assert (response.status, error_code(body)) == (404, "MANIFEST_UNKNOWN")


async def test_a_check_asks_below_the_path_and_shows_it(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add_image(f"hub/{ALPINE}", "latest", IMAGE)
    upstream = {"endpoints": f"{registry.url}/hub", "private_network": True, "read_ahead": False}
    file = write({"upstreams": {"docker.io": upstream}}, tmp_path)
    done = await run("check", "alpine", "--config", file, folder=tmp_path)
    assert done.code == 0, done.stdout
    assert done.stdout.splitlines()[1].split()[:2] == ["docker.io", f"{registry.url}/hub"]


# Authorities. ------------------------------------------------------------------------------------------------


class Secure:
    """A registry and a CDN with a certificate that only one bundle vouches for, and a CDN with another one."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        (folder / "other").mkdir()
        ours, theirs = server_context(folder), server_context(folder / "other")
        self.bundle = str(folder / "certificate.pem")
        self.registry = FakeRegistry(journal, name="secure", tls=ours)
        self.registry.add_image(ALPINE, "3.20", IMAGE)
        self.tokens = FakeTokenService(journal, name="secure-tokens", tls=ours)
        self.cdn = FakeCDN(journal, "secure-cdn", ours)
        self.other_cdn = FakeCDN(journal, "other-cdn", theirs)

    def upstream(self, **fields: Any) -> dict[str, Any]:
        """Return the upstream, whose endpoint has these fields."""
        return {"endpoints": [{"url": self.registry.url, **fields}], "private_network": True, "read_ahead": False}

    async def __aenter__(self) -> Secure:
        for one in (self.registry, self.tokens, self.cdn, self.other_cdn):
            await one.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in (self.registry, self.tokens, self.cdn, self.other_cdn):
            await one.close()


async def test_a_bundle_is_believed_for_all_that_the_endpoint_leads_to(
    journal: Journal, tmp_path: Path, start_mirror: StartMirror
) -> None:
    async with Secure(journal, tmp_path) as secure:
        secure.registry.auth = TokenAuth(secure.tokens)
        secure.registry.redirect_blobs(secure.cdn)
        upstream = secure.upstream(ca_file=secure.bundle)
        async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
            assert await got(mirror, MANIFEST) == IMAGE.manifest.data
            assert await got(mirror, BLOB) == LAYER.data
    assert journal.count(host="secure-cdn") == 1
    assert journal.count(host="secure-tokens") == 1


async def test_a_bundle_vouches_for_nobody_else(
    journal: Journal, tmp_path: Path, start_mirror: StartMirror, quick_retries: None
) -> None:
    async with Secure(journal, tmp_path) as secure:
        secure.registry.redirect_blobs(secure.other_cdn)
        # Another upstream at the same address is not meant either.
        upstreams = {"docker.io": secure.upstream(ca_file=secure.bundle), "ghcr.io": secure.upstream()}
        async with start_mirror(upstreams=upstreams) as mirror:
            for path in (BLOB, f"/v2/ghcr.io/{ALPINE}/manifests/3.20"):
                response, body = await mirror.get(path)
                assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
    assert journal.count(host="other-cdn") == 0


async def test_an_unverified_endpoint_is_asked_all_the_same_and_leads_to_nobody_unverified(
    journal: Journal, tmp_path: Path, start_mirror: StartMirror, quick_retries: None
) -> None:
    async with Secure(journal, tmp_path) as secure:
        with structlog.testing.capture_logs() as logged:
            async with start_mirror(upstreams={"docker.io": secure.upstream(verify=False)}) as mirror:
                assert await got(mirror, MANIFEST) == IMAGE.manifest.data
                secure.registry.redirect_blobs(secure.cdn)
                response, body = await mirror.get(BLOB)
                assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
        [warning] = [line for line in logged if line["event"] == "certificate not verified"]
        assert (warning["log_level"], warning["upstream"]) == ("warning", "docker.io")
        assert warning["endpoint"] == secure.registry.url
    assert journal.count(host="secure-cdn") == 0


async def test_an_unverified_registry_has_no_unverified_token_service_elsewhere(
    journal: Journal, tmp_path: Path, start_mirror: StartMirror
) -> None:
    async with Secure(journal, tmp_path) as secure:
        secure.registry.auth = TokenAuth(secure.tokens)
        async with start_mirror(upstreams={"docker.io": secure.upstream(verify=False)}) as mirror:
            response, body = await mirror.get(MANIFEST)
            assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
    assert journal.count(host="secure-tokens") == 0


async def test_a_check_believes_whom_serving_believes(journal: Journal, tmp_path: Path) -> None:
    async with Secure(journal, tmp_path) as secure:
        for fields, code, word in (
            ({"ca_file": secure.bundle}, 0, "1 endpoint: all good"),
            ({"verify": False}, 0, "its certificate may be anybody's; give it a ca_file instead of verify: false"),
            ({}, 1, "nobody this machine trusts has signed its certificate"),
        ):
            file = write({"upstreams": {"docker.io": secure.upstream(**fields)}}, tmp_path)
            done = await run("check", f"{ALPINE}:3.20", "--config", file, folder=tmp_path)
            assert (done.code, word in done.stdout) == (code, True), done.stdout


async def test_a_bundle_that_is_not_there_is_a_bad_configuration(tmp_path: Path) -> None:
    endpoint = {"url": "https://a.example", "ca_file": "missing.pem"}
    file = write({"upstreams": {"docker.io": {"endpoints": endpoint}}}, tmp_path)
    done = await run("serve", "--config", file, folder=tmp_path)
    assert (done.code, done.stdout) == (78, "")
    assert done.stderr.startswith("mirror: upstreams.docker.io.endpoints.0.ca_file: missing.pem cannot be read")


# A time-out. -------------------------------------------------------------------------------------------------


async def test_an_endpoint_has_the_time_that_it_is_given_while_there_is_another(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []

    def hurried(seconds: float = ANSWER_WITHIN) -> Any:
        given.append(seconds)
        return answer_within(seconds / 100)

    monkeypatch.setattr("mirror.upstream.client.answer_within", hurried)
    other_registry.add_image(ALPINE, "3.20", IMAGE)
    registry.hang()
    endpoints = [{"url": registry.url, "timeout": "7s"}, other_registry.url]
    upstream = {**docker_io(registry, token_service), "endpoints": endpoints}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        assert await got(mirror, MANIFEST) == IMAGE.manifest.data
    registry.resume()
    assert set(given) == {7.0, ANSWER_WITHIN}
