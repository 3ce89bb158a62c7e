from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.auth.credential_helper import CredentialHelper
from mirror.upstream.auth.credentials import Credential, NoCredential
from mirror.upstream.auth.docker_config import DockerConfig, credential_for, server_name

HOST = "registry.example:5000"
HUB = "registry-1.docker.io"


def basic(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


ENTRY = {"auth": basic("me:pass:word")}
MINE = Credential("me", "pass:word")


def found(host: str, **sections: Any) -> Credential | CredentialHelper:
    return credential_for(host, json.dumps(sections).encode())


@pytest.mark.parametrize(
    ("host", "key"),
    [
        (HOST, "registry.example:5000"),
        (HOST, "https://registry.example:5000"),
        (HOST, "http://registry.example:5000"),
        (HOST, "https://registry.example:5000/"),
        (HOST, "https://registry.example:5000/v2/"),
        (HOST, "https://REGISTRY.example:5000/v1/"),
        ("ghcr.io", "ghcr.io"),
        (HUB, "https://index.docker.io/v1/"),
        (HUB, "index.docker.io"),
        (HUB, "docker.io"),
        (HUB, "registry-1.docker.io"),
    ],
)
def test_an_entry_is_found(host: str, key: str) -> None:
    assert found(host, auths={"other.example": {}, key: ENTRY}) == MINE


@pytest.mark.parametrize(
    ("host", "key"),
    [
        (HOST, "registry.example"),
        (HOST, "registry.example:5001"),
        (HOST, "https://registry.example/"),
        (HOST, "evil-registry.example:5000"),
        (HOST, "registry.example:5000.evil.example"),
        (HOST, "registry.example:5000/team"),
        (HOST, "https://me@registry.example:5000"),
        (HOST, "ftp://registry.example:5000"),
        (HOST, "*"),
        (HOST, ""),
        ("ghcr.io", "https://index.docker.io/v1/"),
        ("mirror.docker.io", "https://index.docker.io/v1/"),
        ("mirror.docker.io", "docker.io"),
        (HUB, "https://hub.docker.io/"),
        (HUB, "auth.docker.io"),
    ],
)
def test_an_entry_of_another_registry_is_none_of_ours(host: str, key: str) -> None:
    with pytest.raises(NoCredential, match="no credentials for"):
        found(host, auths={key: ENTRY})


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        ({"auth": basic("me:")} | {"identitytoken": "abc"}, Credential("", "abc", is_identity_token=True)),
        ({"identitytoken": "abc"}, Credential("", "abc", is_identity_token=True)),
        ({"auth": basic("me:secret\0\0")}, Credential("me", "secret")),
        ({"username": "me", "password": "secret"}, Credential("me", "secret")),
        ({"auth": "", "username": "me", "password": "secret", "email": "x"}, Credential("me", "secret")),
    ],
)
def test_the_forms_of_an_entry(entry: dict[str, str], credential: Credential) -> None:
    assert found(HOST, auths={HOST: entry}) == credential


@pytest.mark.parametrize(
    "entry",
    [
        {},
        None,
        "secret",
        [],
        {"auth": "not base64!"},
        {"auth": basic("nocolon")},
        {"auth": basic(":secret")},
        {"auth": basic("me:")},
        {"auth": 5},
        {"auth": base64.b64encode(b"\xff:\xff").decode()},
        {"username": "me"},
        {"password": "secret"},
        {"identitytoken": ""},
        {"identitytoken": "secret\ud800"},
        {"username": "me\ud800", "password": "secret"},
        {"registrytoken": "abc"},
    ],
)
def test_an_entry_without_credentials(entry: object) -> None:
    with pytest.raises(NoCredential) as raised:
        found(HOST, auths={HOST: entry})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("sections", "program"),
    [
        ({"credHelpers": {HOST: "ecr-login"}}, "docker-credential-ecr-login"),
        ({"credsStore": "pass"}, "docker-credential-pass"),
        ({"credHelpers": {HOST: "ecr-login"}, "credsStore": "pass"}, "docker-credential-ecr-login"),
        ({"credHelpers": {"ghcr.io": "gh"}, "credsStore": "pass"}, "docker-credential-pass"),
        ({"credHelpers": {HOST: "ecr-login"}, "auths": {HOST: ENTRY}}, "docker-credential-ecr-login"),
        ({"credsStore": "pass", "auths": {HOST: ENTRY}}, "docker-credential-pass"),
    ],
)
def test_a_helper_goes_before_what_is_in_the_file(sections: dict[str, Any], program: str) -> None:
    helper = found(HOST, **sections)
    assert isinstance(helper, CredentialHelper)
    assert helper.program == program


def test_no_helper_of_another_registry_is_asked() -> None:
    assert found(HOST, credHelpers={"ghcr.io": "gh"}, credsStore="", auths={HOST: ENTRY}) == MINE


@pytest.mark.parametrize("name", ["../../bin/sh", "/bin/sh", "a b", "a;b", "-x", "a\n", 5, ["x"]])
def test_what_is_no_name_of_a_helper_is_not_run(name: object) -> None:
    for sections in ({"credsStore": name}, {"credHelpers": {HOST: name}}):
        with pytest.raises(NoCredential, match="not the name of one"):
            found(HOST, **sections)


def test_what_docker_calls_a_registry() -> None:
    assert server_name(HOST) == HOST
    assert server_name(HUB) == "https://index.docker.io/v1/"


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.text(max_size=5) | st.none() | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["auths", "credHelpers", "credsStore", HOST, "auth"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_file_does_worse_than_have_none(data: bytes) -> None:
    try:
        credential_for(HOST, data)
    except NoCredential as error:
        assert str(error).isprintable()  # noqa: PT017  # or nothing is raised


async def test_the_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    source = DockerConfig(file, HOST)
    with pytest.raises(NoCredential, match="cannot be read: No such file"):
        await source.read()
    for secret in ("old", "new"):
        file.write_text(json.dumps({"auths": {HOST: {"auth": basic(f"me:{secret}")}}}))
        assert await source.read() == Credential("me", secret)
    file.write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(NoCredential, match="not a docker configuration"):
        await source.read()
