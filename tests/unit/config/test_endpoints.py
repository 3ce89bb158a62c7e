"""The fields of an endpoint: what its URL may be, whom it is believed by, how long it has."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from yarl import URL

from mirror.config import EndpointConfig, load
from mirror.errors import ConfigError
from tests.integration.tls import server_context


@pytest.fixture(autouse=True)
def _nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config.yaml but what a test makes."""
    monkeypatch.chdir(tmp_path)


def endpoint(given: object, **upstream: object) -> EndpointConfig:
    """Return the one endpoint of an upstream, loaded from a file."""
    text = json.dumps({"upstreams": {"docker.io": {"endpoints": given, **upstream}}})
    Path("given.yaml").write_text(text)
    [only] = load(Path("given.yaml")).upstreams["docker.io"].endpoints
    return only


def refusal(given: object, **upstream: object) -> str:
    """Return what is said of an upstream that cannot be; one line, which names the key."""
    with pytest.raises(ConfigError) as raised:
        endpoint(given, **upstream)
    [line] = str(raised.value).splitlines()
    assert line.startswith("upstreams.docker.io.endpoints.0")
    return line.removeprefix("upstreams.docker.io.endpoints.0")


@pytest.mark.parametrize("given", ["https://a.example", ["https://a.example/"], {"url": "https://a.example"}])
def test_an_endpoint_is_its_url(given: object) -> None:
    assert endpoint(given) == EndpointConfig(url=URL("https://a.example"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://harbor.example/hub", "https://harbor.example/hub"),
        ("https://harbor.example/hub/", "https://harbor.example/hub"),
        ("https://harbor.example:8443/team_a/docker.io-proxy", "https://harbor.example:8443/team_a/docker.io-proxy"),
        ("https://harbor.example:443/hub", "https://harbor.example/hub"),
    ],
)
def test_a_path_goes_before_the_names_of_repositories(given: str, url: str) -> None:
    assert str(endpoint(given).url) == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("https://h.example/Hub", "its path goes before the names of repositories, so it is like one"),
        ("https://h.example/a//b", "its path goes before the names of repositories"),
        ("https://h.example/a%2fb", "its path goes before the names of repositories"),
        ("https://h.example/h%75b%2f", "its path goes before the names of repositories"),
        ("https://h.example/hub:latest", "its path goes before the names of repositories"),
        (f"https://h.example/{'a' * 256}", "at most 255 characters"),
        ("https://h.example/v2", "leave /v2 out, which the mirror adds itself"),
        ("https://h.example/v2/", "leave /v2 out, which the mirror adds itself"),
        ("https://h.example/v2/hub", "leave /v2 out, which the mirror adds itself"),
        ("https://h.example/hub/v2/", "leave /v2 out, which the mirror adds itself"),
        ("https://h.example/hub?ns=docker.io", "an address is http(s)://host[:port]"),
        ("https://h.example/hub#x", "an address is http(s)://host[:port]"),
        ("https://me:hunter2@h.example/hub", "an address is http(s)://host[:port]"),
        ("ftp://h.example/hub", "an address is http(s)://host[:port]"),
        ("h.example/hub", "an address is http(s)://host[:port]"),
        ("h.example", "the scheme is missing"),
        ("/hub", "an address is http(s)://host[:port]"),
        ("", "an address is http(s)://host[:port]"),
        ("https://[", "an address is http(s)://host[:port]"),
    ],
)
def test_a_url_that_cannot_be_one(url: str, word: str) -> None:
    for given in (url, {"url": url}):
        said = refusal(given)
        assert said.startswith(".url: ")
        assert word in said
        assert "hunter2" not in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ".url: is needed"),
        ({"timeout": "5s"}, ".url: is needed"),
        ({"url": "https://a.example", "cafile": "x"}, ".cafile: unknown key; did you mean ca_file?"),
        ({"url": "https://a.example", "verify": "perhaps"}, ".verify: expected is a valid boolean"),
        ({"url": "https://a.example", "verify": None}, ".verify: expected is a valid boolean"),
        ({"url": "https://a.example", "timeout": 5}, ".timeout: a duration is a number with a unit"),
        ({"url": "https://a.example", "timeout": "0s"}, ".timeout: it is more than nothing and less than 20s"),
        ({"url": "https://a.example", "timeout": "20s"}, ".timeout: it is more than nothing and less than 20s"),
        ({"url": "https://a.example", "ca_file": 5}, ".ca_file: a path is expected"),
        ({"url": "https://a.example", "ca_file": "x", "verify": False}, ".verify: without it, ca_file has nothing"),
        (5, ": fields are expected below this"),
        ([["https://a.example"]], ": fields are expected below this"),
    ],
)
def test_fields_that_cannot_be(given: object, said: str) -> None:
    assert refusal(given if isinstance(given, list) else [given]).startswith(said)


def test_a_timeout_is_a_duration() -> None:
    assert endpoint({"url": "https://a.example", "timeout": "1500ms"}).timeout == timedelta(seconds=1.5)


# Certificates. -----------------------------------------------------------------------------------------------


def test_a_bundle_is_read(tmp_path: Path) -> None:
    server_context(tmp_path)
    bundle = tmp_path / "certificate.pem"
    given = endpoint({"url": "https://a.example", "ca_file": str(bundle)})
    assert given.authorities == bundle.read_text()
    assert endpoint("https://a.example").authorities == ""
    bundle.write_bytes("# Autoridad de Certificación\n".encode() + bundle.read_bytes())
    assert endpoint({"url": "https://a.example", "ca_file": str(bundle)}).authorities


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "holds no certificate that can be read; it should be in PEM form"),
        (b"hello", "holds no certificate that can be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate that can be read"),
        (b"-----BEGIN CERTIFICATE-----\n", "holds no certificate that can be read"),
        (b"\x30\x82\xff", "holds no certificate that can be read"),
    ],
)
def test_a_bundle_that_is_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    assert refusal([{"url": "https://a.example", "ca_file": "ca.pem"}]).startswith(f".ca_file: ca.pem {said}")


def test_a_key_is_no_certificate(tmp_path: Path) -> None:
    server_context(tmp_path)
    said = refusal([{"url": "https://a.example", "ca_file": str(tmp_path / "key.pem")}])
    assert "holds no certificate that can be read" in said
    assert "PRIVATE" not in said


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in refusal([{"url": "https://a.example", "ca_file": str(tmp_path)}])


def test_credentials_are_for_whom_can_be_verified(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    credentials = {"username": "me", "password_file": "password"}
    unverified = [{"url": "https://a.example", "verify": False}]
    said = refusal(unverified, credentials=credentials)
    assert said.startswith(".verify: anybody could get the credentials; give it a ca_file")
    assert not endpoint(unverified, credentials=credentials, private_network=True).verify
    assert not endpoint(unverified).verify


def test_an_unverified_endpoint_makes_no_unverified_proxy() -> None:
    unverified = [{"url": "https://a.example", "verify": False}]
    said = refusal(unverified, proxy="https://p.example")
    assert said.startswith(".verify: the proxy would not be verified either")
    assert not endpoint(unverified, proxy="http://p.example").verify


def test_endpoints_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"a.example": {"endpoints": [{"url": "https://h.example/hub", "timeout": "3s"}, "https://b.example"]}}
    monkeypatch.setenv("MIRROR_UPSTREAMS", json.dumps(given))
    first, second = load(None).upstreams["a.example"].endpoints
    assert (str(first.url), first.timeout, str(second.url)) == (
        "https://h.example/hub",
        timedelta(seconds=3),
        "https://b.example",
    )
