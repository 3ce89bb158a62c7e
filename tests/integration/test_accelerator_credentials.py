"""An accelerator before a registry with an account: what the one is not to hear of the other."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.cli.check.report import lines
from mirror.cli.check.targets import endpoints_of
from mirror.composition.checking import check
from mirror.config import Config
from tests.fakes import content
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.credentials import basic_credentials, bearer_token
from tests.fakes.helper import FakeHelper
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.conftest import RunningMirror, StartMirror, docker_io

IMAGE = content.image(layers=1)
ALPINE = "library/alpine"
TAG = f"/v2/{ALPINE}/manifests/3.20"
SECRET = "correct horse"


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry, other_registry: FakeRegistry) -> None:
    for one in (registry, other_registry):
        one.add_image(ALPINE, "3.20", IMAGE)


@pytest.fixture
def given(
    registry: FakeRegistry, other_registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> dict[str, Any]:
    """An upstream with an account, which is "other", behind an accelerator, "registry"; all of it for the account."""
    (tmp_path / "password").write_text(SECRET)
    token_service.accounts = {"ci": SECRET}
    token_service.restrict("library/*", "ci")
    other_registry.auth = TokenAuth(token_service)
    return {
        **docker_io(registry, token_service),
        "endpoints": [registry.url, other_registry.url],
        "credentials": {"username": "ci", "password_file": str(tmp_path / "password")},
        "serve_private": "everyone",
    }


@pytest.fixture
async def own_tokens(journal: Journal) -> AsyncIterator[FakeTokenService]:
    """A token service of the accelerator's."""
    async with FakeTokenService(journal, "own", "own") as service:
        yield service


async def pulled(start_mirror: StartMirror, upstream: dict[str, Any]) -> None:
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        await well(mirror)


async def well(mirror: RunningMirror) -> None:
    for path, data in ((TAG, IMAGE.manifest.data), (f"/v2/{ALPINE}/blobs/{IMAGE.layers[0].digest}", None)):
        response, body = await mirror.get(path)
        assert response.status == 200
        assert body == (data or IMAGE.layers[0].data)


def heard(journal: Journal, host: str) -> set[str]:
    """The kinds of authorization that a host has seen."""
    return {entry.authorization for entry in journal.select(host=host)}


async def test_an_accelerator_that_wants_a_password_does_not_get_the_registrys(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, given: dict[str, Any]
) -> None:
    registry.auth = BasicAuth("ci", SECRET)
    await pulled(start_mirror, given)
    assert heard(journal, "registry") == {"none"}
    assert heard(journal, "other") == {"none", "bearer"}


async def test_nor_by_way_of_a_token_service_on_its_own_origin_or_the_registrys(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    own_tokens: FakeTokenService,
    journal: Journal,
    start_mirror: StartMirror,
    given: dict[str, Any],
    tmp_path: Path,
) -> None:
    for service in (own_tokens, token_service):
        registry.auth = TokenAuth(service)
        async with start_mirror(
            upstreams={"docker.io": given}, cache={"path": str(tmp_path / service.service)}
        ) as mirror:
            await well(mirror)
    assert heard(journal, "own") == {"none"}
    # A token that the account gets there would read at the registry whatever the account reads.
    seen = {bearer_token(entry.header("Authorization")) for entry in journal.select(host="registry")} - {None}
    assert {token_service.issued[token].account for token in seen if token in token_service.issued} == {None}


async def test_it_gets_what_it_is_listed_for(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, given: dict[str, Any]
) -> None:
    registry.auth = BasicAuth("ci", SECRET)
    await pulled(start_mirror, {**given, "realms": [registry.url]})
    assert {basic_credentials(entry.header("Authorization") or "") for entry in journal.select(host="registry")} >= {
        ("ci", SECRET)
    }
    assert journal.count(host="other") == 0


async def test_a_docker_configuration_has_them_by_host(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, given: dict[str, Any], tmp_path: Path
) -> None:
    registry.auth = BasicAuth("robot", "its own")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {registry.host: {"username": "robot", "password": "its own"}}}))
    await pulled(start_mirror, {**given, "credentials": {"docker_config": str(file)}})
    assert journal.count(host="other") == 0


@pytest.mark.parametrize("has_helper", [False, True])
async def test_one_that_a_docker_configuration_does_not_know_is_asked_as_anybody(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    own_tokens: FakeTokenService,
    journal: Journal,
    start_mirror: StartMirror,
    given: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_helper: bool,
) -> None:
    registry.auth = TokenAuth(own_tokens)
    other_registry.add_image("library/here", "1", IMAGE)
    registry.absent("/v2/library/here/*")
    helper = FakeHelper(tmp_path, "fake")
    helper.give(other_registry.host, "ci", SECRET)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    file = tmp_path / "config.json"
    auths = {other_registry.host: {"username": "ci", "password": SECRET}}
    file.write_text(json.dumps({"credsStore": "fake"} if has_helper else {"auths": auths}))
    upstream = {
        **given,
        "realms": [*given["realms"], own_tokens.url],
        "credentials": {"docker_config": str(file)},
    }
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        await well(mirror)
        assert journal.count(host="other") == 0
        assert (await mirror.get("/v2/library/here/manifests/1"))[0].status == 200
    assert heard(journal, "own") == {"none"}
    assert heard(journal, "other") == {"none", "bearer"}
    assert bool(helper.calls) is has_helper


async def test_check_tells_that_it_is_asked_without(
    registry: FakeRegistry, other_registry: FakeRegistry, journal: Journal, given: dict[str, Any]
) -> None:
    content: dict[str, Any] = {"upstreams": {"docker.io": given}}
    config = Config(**content)
    found = await check(config, endpoints_of(config, ["alpine:3.20"]), 20.0)
    told = lines(config, found, datetime.now(UTC))
    assert [line.split()[-3] for line in told[1:3]] == ["anonymous", "ci"]
    assert told[4] == (
        f"docker.io: {registry.url} is asked without the credentials, which are for {other_registry.url};"
        " a docker_config has them by host, or upstreams.docker.io.realms names it"
    )
    assert told[-1] == "2 endpoints: all good"
