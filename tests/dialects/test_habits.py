"""What one registry does and others do not, where a pull as such does not show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mirror.upstream.auth import credentials
from tests.dialects import alibaba, amazon, artifactory, docker_hub, harbor, kubernetes, microsoft
from tests.dialects.conftest import StartMirror
from tests.dialects.dialect import OTHER, PRIVATE, PUBLIC, SECRET, Dialect, shows
from tests.dialects.pulling import Client
from tests.fakes import content, faults
from tests.fakes.cdn import PREFIX
from tests.fakes.helper import FakeHelper
from tests.fakes.journal import Journal

NEW = "canary-n3w"


def speaking(kind: type[Dialect]) -> pytest.MarkDecorator:
    """Run the test with this registry."""
    return pytest.mark.parametrize("kind", [kind], ids=[kind.title])


@pytest.fixture(autouse=True)
def impatient_for_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source may be looked at again at once."""
    monkeypatch.setattr(credentials, "PAUSE_SECONDS", 0.0)


# Amazon. -------------------------------------------------------------------------------------------------


@speaking(amazon.PrivateRegistry)
async def test_a_helper_is_asked_again_when_its_password_ran_out(
    dialect: amazon.PrivateRegistry, start_mirror: StartMirror, journal: Journal
) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(SECRET)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_podman(dialect.private, "2.0", OTHER)
        dialect.passwords.revoke()
        dialect.passwords.good = {NEW}
        dialect.helper.give(dialect.upstream, dialect.user, NEW)
        await client.as_docker(dialect.private, "1.0", PUBLIC)
    # By the very name that docker knows the registry by.
    assert [call.asked for call in dialect.helper.calls] == [dialect.upstream] * 2
    assert journal.count(status=403) == 1
    assert journal.count(status=401) == 1


@speaking(amazon.PrivateRegistry)
async def test_a_password_that_ran_out_and_has_no_successor_is_refused(
    dialect: amazon.PrivateRegistry, start_mirror: StartMirror, journal: Journal
) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(SECRET)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_podman(dialect.private, "2.0", OTHER)
        dialect.passwords.revoke()
        journal.clear()
        assert (await client.refusal(f"{dialect.private}/manifests/1.0"))[:2] == (403, "DENIED")
    assert [entry.status for entry in journal.entries] == [403]


@speaking(amazon.PrivateRegistry)
async def test_while_a_helper_fails_a_password_that_ran_out_takes_nothing_away(
    dialect: amazon.PrivateRegistry, start_mirror: StartMirror
) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(SECRET)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_podman(dialect.private, "2.0", OTHER)
        dialect.passwords.revoke()
        dialect.helper.secrets.clear()
        dialect.helper.behave()
        # That the credentials cannot be had is no word of the registry.
        assert (await client.refusal(f"{dialect.private}/manifests/1.0"))[:2] == (502, "UNAVAILABLE")
        await client.as_podman(dialect.private, "2.0", OTHER)


@speaking(amazon.PrivateRegistry)
async def test_a_helper_that_a_docker_configuration_names_for_the_registry(
    dialect: amazon.PrivateRegistry, start_mirror: StartMirror, tmp_path: Path
) -> None:
    fields = dialect.configured(SECRET)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credHelpers": {dialect.upstream: "ecr-login"}}))
    async with start_mirror(dialect.upstream, {**fields, "credentials": {"docker_config": str(file)}}) as mirror:
        await Client(mirror, dialect.upstream).as_podman(dialect.private, "2.0", OTHER)


@speaking(amazon.Public)
async def test_a_token_that_is_refused_by_a_400_is_replaced(
    dialect: amazon.Public, start_mirror: StartMirror, journal: Journal
) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(None)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_podman(dialect.repository, "2.0", OTHER)
        dialect.registry.revoke_tokens()
        await client.as_docker(dialect.repository, "1.0", PUBLIC)
    assert journal.count(status=400) == 1
    assert journal.count(path="/token/") == 2


# Docker Hub. ---------------------------------------------------------------------------------------------


@speaking(docker_hub.DockerHub)
async def test_docker_s_own_configuration_knows_docker_hub_by_its_first_name(
    dialect: docker_hub.DockerHub, start_mirror: StartMirror, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    entry = {"username": dialect.user, "password": SECRET}
    file.write_text(json.dumps({"auths": {"https://index.docker.io/v1/": entry}}))
    fields = {**dialect.configured(SECRET), "credentials": {"docker_config": str(file)}}
    async with start_mirror(dialect.upstream, fields) as mirror:
        await Client(mirror, dialect.upstream).as_podman(dialect.private, "2.0", OTHER)


# Microsoft. ----------------------------------------------------------------------------------------------


@speaking(microsoft.Artifacts)
async def test_a_body_that_a_cdn_ends_early_goes_on_where_it_was(
    dialect: microsoft.Artifacts, start_mirror: StartMirror, journal: Journal
) -> None:
    large = content.image(size=[64 * 1024], seed="dialects/large")
    dialect.registry.add_image(dialect.repository, "large", large)
    [layer] = large.layers
    # In truth at a multiple of 8 MiB, with the whole Content-Length and a 200, and for those who read slowly.
    slowly = faults.slow(piece=1024, pause=0.002)
    cuts = (faults.both(slowly, faults.short_body(at)) for at in (8 * 1024, 16 * 1024))
    dialect.cdn.fault(f"{PREFIX}{layer.digest}", *cuts)
    async with start_mirror(dialect.upstream, dialect.configured(None)) as mirror:
        await Client(mirror, dialect.upstream).as_podman(dialect.repository, "large", large)
    asked = journal.select(path=f"*{layer.digest}", host=dialect.registry.name)
    assert len(asked) == 3
    assert asked[-1].range is not None


@speaking(microsoft.ContainerRegistry)
async def test_a_helper_has_an_identity_token_too(
    dialect: microsoft.ContainerRegistry, start_mirror: StartMirror, journal: Journal, tmp_path: Path
) -> None:
    FakeHelper(tmp_path, "acr-env").give(dialect.upstream, "<token>", SECRET)
    fields = {**dialect.configured(SECRET), "credentials": {"helper": "acr-env"}}
    async with start_mirror(dialect.upstream, fields) as mirror:
        await Client(mirror, dialect.upstream).as_podman(dialect.private, "2.0", OTHER)
    assert [entry.method for entry in journal.select(path="/oauth2/token")] == ["POST"]
    assert journal.count(authorization="basic") == 0


@speaking(microsoft.ContainerRegistry)
async def test_azure_takes_a_user_name_and_a_password_as_well(
    dialect: microsoft.ContainerRegistry, start_mirror: StartMirror, journal: Journal
) -> None:
    dialect.house.tokens.accounts = {dialect.user: NEW}
    fields = {**dialect.configured(SECRET), "credentials": Dialect.credentials(dialect, NEW)}
    async with start_mirror(dialect.upstream, fields) as mirror:
        await Client(mirror, dialect.upstream).as_podman(dialect.private, "2.0", OTHER)
    assert [(entry.method, entry.authorization) for entry in journal.select(path="/oauth2/token")] == [("GET", "basic")]


# Harbor and Artifactory. ---------------------------------------------------------------------------------


@speaking(harbor.Harbor)
async def test_a_blob_that_harbor_has_not_fetched_yet_is_there(
    dialect: harbor.Harbor, start_mirror: StartMirror, journal: Journal
) -> None:
    [layer] = PRIVATE.layers
    dialect.registry.add_image(dialect.repository, "cold", PRIVATE)
    path = f"{dialect.repository}/blobs/{layer.digest}"
    async with start_mirror(dialect.upstream, dialect.configured(None)) as mirror:
        client = Client(mirror, dialect.upstream)
        response, _ = await client.ask(path, "HEAD")
        assert (response.status, response.headers["Content-Length"]) == (200, str(layer.size))
        await client.as_podman(dialect.repository, "cold", PRIVATE)
    assert [entry.method for entry in journal.select(path=f"/v2/{path}", authorization="bearer")][:2] == ["HEAD", "GET"]


@speaking(harbor.Harbor)
async def test_what_is_cached_through_another_project_is_confirmed_though_harbor_has_not_fetched_it(
    dialect: harbor.Harbor, start_mirror: StartMirror
) -> None:
    for repository in ("first/app", "second/app"):
        dialect.hold(repository)
    async with start_mirror(dialect.upstream, dialect.configured(None)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_docker("first/app", "1.0", PUBLIC)
        await client.as_docker("second/app", "1.0", PUBLIC)


@speaking(harbor.Harbor)
async def test_names_that_harbor_completes_by_a_redirect(dialect: harbor.Harbor, start_mirror: StartMirror) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(None)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_docker("dockerhub/app", "1.0", PUBLIC)
        await client.as_podman("dockerhub/app", "2.0", OTHER)


PREFIXED: dict[str, tuple[type[Dialect], str]] = {
    "a Harbor project": (harbor.Harbor, "https://harbor.example.com/dockerhub"),
    "an Artifactory repository": (artifactory.Artifactory, "https://example.jfrog.io/docker-remote"),
    "one with passwords": (artifactory.ArtifactoryWithPasswords, "https://example.jfrog.io/docker-remote"),
}


@pytest.mark.parametrize(("kind", "endpoint"), PREFIXED.values(), ids=PREFIXED.keys())
async def test_docker_hub_by_way_of_a_repository_of_one_s_own(
    dialect: Dialect, endpoint: str, start_mirror: StartMirror, journal: Journal
) -> None:
    key = endpoint.rpartition("/")[2]
    dialect.hold(f"{key}/team/hub")
    fields: dict[str, Any] = {**dialect.configured(SECRET), "endpoints": [endpoint]}
    async with start_mirror("docker.io", fields) as mirror:
        client = Client(mirror, "docker.io")
        await client.as_docker("team/hub", "1.0", PUBLIC)
        await client.as_podman("team/hub", "2.0", OTHER)
        assert {"1.0", "2.0"} <= set(await client.tags("team/hub"))
    assert journal.select(path=f"/v2/{key}/team/hub/manifests/*")
    assert all(dialect.is_secret_for(entry) for entry in journal.entries if shows(entry, SECRET))


# Others. -------------------------------------------------------------------------------------------------


@speaking(kubernetes.Kubernetes)
async def test_what_comes_from_another_name_is_kept_under_the_one_that_was_asked(
    dialect: kubernetes.Kubernetes, start_mirror: StartMirror, journal: Journal
) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(None)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_docker(dialect.repository, "1.0", PUBLIC)
        _, body = await client.ask(f"{dialect.repository}/tags/list")
        assert json.loads(body)["name"] == f"{dialect.upstream}/{dialect.repository}"
        async with mirror.session.get(f"{mirror.admin_url}/api/v1/images") as listed:
            names = [image["image"] for image in (await listed.json())["images"]]
    assert names == [f"{dialect.upstream}/{dialect.repository}:1.0"]
    assert {"HEAD", "GET"} == {entry.method for entry in journal.select(host=kubernetes.BACKEND)}
    assert journal.count(authorization="none") == len(journal.entries)


@speaking(alibaba.PersonalEdition)
async def test_a_token_service_of_another_region_has_to_be_named(
    dialect: alibaba.PersonalEdition, start_mirror: StartMirror, journal: Journal
) -> None:
    async with start_mirror(dialect.upstream, {**dialect.configured(SECRET), "realms": []}) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_podman(dialect.repository, "2.0", OTHER)
        assert (await client.refusal(f"{dialect.private}/manifests/1.0"))[:2] == (403, "DENIED")
    assert not any(shows(entry, SECRET) for entry in journal.entries)
