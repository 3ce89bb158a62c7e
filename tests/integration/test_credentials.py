"""Where credentials come from: files that are rotated, docker's configuration, credential helpers, identity tokens."""

from __future__ import annotations

import base64
import json
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.upstream.auth import credentials
from tests.fakes import content
from tests.fakes.answer import Answer
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.credentials import basic_credentials
from tests.fakes.helper import FakeHelper
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.command import configuration, serving
from tests.integration.conftest import RunningMirror, StartMirror, docker_io

IMAGE = content.image(layers=2)
MANIFEST = "/v2/team/app/manifests/1.0"
BLOBS = [f"/v2/team/app/blobs/{blob.digest}" for blob in IMAGE.blobs]
OLD, NEW = "canary-0ld", "canary-n3w"


@pytest.fixture(autouse=True)
def impatient_for_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source may be looked at again at once."""
    monkeypatch.setattr(credentials, "PAUSE_SECONDS", 0.0)


@dataclass(frozen=True, slots=True)
class Site:
    """A registry with a private repository, and a mirror that may serve it to everyone."""

    registry: FakeRegistry
    tokens: FakeTokenService
    start: StartMirror
    folder: Path
    helper: FakeHelper

    def upstream(self, **given: Any) -> dict[str, Any]:
        return {**docker_io(self.registry, self.tokens), "serve_private": "everyone", "credentials": given}

    def mirror(self, **given: Any) -> AbstractAsyncContextManager[RunningMirror]:
        """Start a mirror with these credentials."""
        return self.start(upstreams={"docker.io": self.upstream(**given)})

    def docker_config(self, **sections: Any) -> str:
        """Write a docker configuration; return its path."""
        file = self.folder / "config.json"
        file.write_text(json.dumps(sections))
        return str(file)

    def auths(self, secret: str) -> str:
        """Write a docker configuration with this password for the registry; return its path."""
        pair = base64.b64encode(f"ci:{secret}".encode()).decode()
        return self.docker_config(auths={f"https://{self.registry.host}/v2/": {"auth": pair}})


@pytest.fixture
def site(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    registry.add_image("team/app", "1.0", IMAGE)
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": OLD}
    token_service.restrict("team/*", "ci")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Site(registry, token_service, start_mirror, tmp_path, FakeHelper(tmp_path))


async def status_of(mirror: RunningMirror, path: str = MANIFEST) -> int:
    """The status of an answer; if it is an error, with what every error has."""
    response, body = await mirror.get(path)
    assert response.status == 200 or error_code(body)
    return response.status


async def test_a_docker_configuration(site: Site, journal: Journal) -> None:
    async with site.mirror(docker_config=site.auths(OLD)) as mirror:
        assert await status_of(mirror) == 200
    (asked,) = journal.select(host="tokens")
    assert basic_credentials(asked.header("Authorization")) == ("ci", OLD)


async def test_a_credential_helper(site: Site, journal: Journal) -> None:
    site.helper.give(site.registry.host, "ci", OLD)
    async with site.mirror(helper="test") as mirror:
        for path in (MANIFEST, *BLOBS):
            assert await status_of(mirror, path) == 200
    # Asked once for all of them, for the very host that the credential will be sent to.
    assert [call.asked for call in site.helper.calls] == [site.registry.host]
    assert journal.count(host="tokens") == 1


async def test_a_helper_that_a_docker_configuration_names(site: Site) -> None:
    site.helper.give(site.registry.host, "ci", OLD)
    config = site.docker_config(credHelpers={site.registry.host: "test"}, auths={site.registry.host: {"auth": "eDp5"}})
    async with site.mirror(docker_config=config) as mirror:
        assert await status_of(mirror) == 200


@pytest.mark.parametrize("way", ["file", "docker", "helper"])
@pytest.mark.parametrize("scheme", ["basic", "bearer"])
async def test_a_rotated_secret_is_picked_up_when_the_old_one_is_refused(site: Site, way: str, scheme: str) -> None:
    def keep(secret: str) -> dict[str, str]:
        (site.folder / "password").write_text(secret)
        site.helper.give(site.registry.host, "ci", secret)
        return {
            "file": {"username": "ci", "password_file": str(site.folder / "password")},
            "docker": {"docker_config": site.auths(secret)},
            "helper": {"helper": "test"},
        }[way]

    async with site.mirror(**keep(OLD)) as mirror:
        site.registry.auth = BasicAuth("ci", OLD) if scheme == "basic" else site.registry.auth
        assert await status_of(mirror) == 200
        site.tokens.accounts = {"ci": NEW}
        site.tokens.revoke()
        site.registry.auth = BasicAuth("ci", NEW) if scheme == "basic" else site.registry.auth
        assert await status_of(mirror, BLOBS[0]) == 403
        keep(NEW)
        assert await status_of(mirror, BLOBS[1]) == 200


async def test_what_is_stale_is_served_while_a_helper_fails(site: Site) -> None:
    site.helper.give(site.registry.host, "ci", OLD)
    upstream = site.upstream(helper="test")
    async with site.start(upstreams={"docker.io": upstream}, freshness={"tag_ttl": "0s"}) as mirror:
        assert await status_of(mirror) == 200
        site.tokens.accounts = {"ci": NEW}
        site.tokens.revoke()
        site.helper.behave(answer="canary")
        site.helper.secrets.clear()
        site.helper.behave(answer="canary")
        response, body = await mirror.get(MANIFEST)
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert "fwd=stale" in response.headers["Cache-Status"]


@pytest.mark.parametrize("trouble", ["none for it", "missing", "not in the configuration"])
async def test_without_its_credentials_a_registry_is_in_trouble_and_never_asked_anonymously(
    site: Site, journal: Journal, trouble: str
) -> None:
    given = {"helper": "nowhere" if trouble == "missing" else "test"}
    if trouble == "not in the configuration":
        given = {"docker_config": site.docker_config(auths={"ghcr.io": {"auth": "eDp5"}})}
    async with site.mirror(**given) as mirror:
        response, body = await mirror.get(MANIFEST)
        assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
        assert response.headers["Cache-Status"] == "mirror; detail=credentials-unavailable"
    assert journal.count(host="tokens") == 0
    assert {entry.authorization for entry in journal.entries} == {"none"}


async def test_the_log_says_why_there_are_no_credentials_and_nothing_that_a_helper_said(site: Site) -> None:
    site.helper.behave(answer="canary")
    upstreams = {"docker.io": site.upstream(helper="test")}
    async with serving(
        configuration(site.registry, site.tokens, site.folder, upstreams=upstreams), site.folder
    ) as mirror:
        assert (await mirror.get(MANIFEST))[0].status == 502
        (line,) = await mirror.logged(lambda line: '"no credentials"' in line)
        assert 'cause="docker-credential-test did not answer with a user name and a secret"' in line
        assert "upstream=docker.io" in line
        assert "canary" not in "".join(mirror.log)


# Identity tokens. ------------------------------------------------------------------------------------------


@pytest.fixture
def identity(site: Site) -> dict[str, str]:
    """Credentials that are an identity token."""
    site.tokens.identity_tokens = {OLD: "ci"}
    site.helper.give(site.registry.host, "<token>", OLD)
    return {"helper": "test"}


async def test_an_identity_token_is_exchanged(site: Site, identity: dict[str, str], journal: Journal) -> None:
    async with site.mirror(**identity) as mirror:
        for path in (MANIFEST, *BLOBS):
            assert await status_of(mirror, path) == 200
    (asked,) = journal.select(host="tokens")
    assert (asked.method, asked.query, asked.authorization) == ("POST", "", "none")
    assert OLD.encode() in asked.body


async def test_an_identity_token_of_a_docker_configuration(site: Site) -> None:
    site.tokens.identity_tokens = {OLD: "ci"}
    entry = {"auth": base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode(), "identitytoken": OLD}
    async with site.mirror(docker_config=site.docker_config(auths={site.registry.host: entry})) as mirror:
        assert await status_of(mirror) == 200


async def test_an_identity_token_that_ended_is_asked_for_again(site: Site, identity: dict[str, str]) -> None:
    async with site.mirror(**identity) as mirror:
        assert await status_of(mirror) == 200
        site.tokens.identity_tokens = {NEW: "ci"}
        site.tokens.revoke()
        site.helper.give(site.registry.host, "<token>", NEW)
        assert await status_of(mirror, BLOBS[0]) == 200


async def test_a_hostile_realm_gets_no_identity_token(site: Site, identity: dict[str, str], journal: Journal) -> None:
    async with FakeTokenService(journal, name="evil") as evil:
        site.registry.auth = TokenAuth(site.tokens, realm=evil.realm)
        evil.service = site.tokens.service
        async with site.mirror(**identity) as mirror:
            assert await status_of(mirror) == 403
        asked = journal.select(host="evil")
        assert [entry.method for entry in asked] == ["GET"]
        assert OLD not in str(asked)
    assert not site.helper.calls


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_no_redirect_leads_an_identity_token_away(
    site: Site, identity: dict[str, str], journal: Journal, code: int
) -> None:
    async with FakeTokenService(journal, name="evil") as evil:
        site.tokens.always("*", lambda _: Answer(code, (("Location", evil.realm),)))
        async with site.mirror(**identity) as mirror:
            assert await status_of(mirror) == 502
        assert journal.count(host="evil") == 0
    assert journal.count(host="tokens") == 1


async def test_an_identity_token_is_nowhere_to_be_found(site: Site, identity: dict[str, str]) -> None:
    config = configuration(
        site.registry,
        site.tokens,
        site.folder,
        upstreams={"docker.io": site.upstream(**identity)},
        log={"level": "debug", "format": "json"},
    )
    seen: list[bytes] = []
    async with serving(config, site.folder) as mirror:
        for path in (MANIFEST, *BLOBS):
            response, body = await mirror.get(path)
            assert response.status == 200
            seen += [body, str(response.headers).encode()]
        site.tokens.identity_tokens = {NEW: "ci"}
        site.tokens.revoke()
        seen += [(await mirror.get("/v2/team/app/manifests/other"))[1], (await mirror.admin("/metrics"))[1]]
        mirror.terminate()
        assert await mirror.exit_code() == 0
        seen += ["\n".join(mirror.log + mirror.stderr).encode()]
    seen += [file.read_bytes() for file in (site.folder / "cache").rglob("*") if file.is_file()]
    for secret in (OLD.encode(), *(token.encode() for token in site.tokens.issued)):
        assert not [text for text in seen if secret in text]
