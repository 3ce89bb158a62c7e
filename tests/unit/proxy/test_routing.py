from __future__ import annotations

import pytest

from mirror.errors import InvalidName, UnknownRegistry
from mirror.oci.paths import Name
from mirror.oci.reference import Repository
from mirror.proxy.routing import Route, Routing, UpstreamNames

UPSTREAMS = (
    UpstreamNames("docker.io", aliases=("index.docker.io", "registry-1.docker.io")),
    UpstreamNames("ghcr.io", aliases=("GitHub.example",), hosts=("ghcr.mirror.example", "[::1]", "127.0.0.1:5001")),
    UpstreamNames("registry:5000", hosts=("Local.Example",)),
)
ROUTING = Routing(UPSTREAMS, "docker.io")


def leads(name: str, namespace: str | None = None, host: str = "mirror.example:5000") -> str:
    """Where a request goes, as text."""
    return str(ROUTING.route(Name.parse(name), namespace, host))


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("library/alpine", "docker.io/library/alpine"),
        ("owner/app", "docker.io/owner/app"),
        ("docker.io/alpine", "docker.io/library/alpine"),
        ("docker.io/owner/app", "docker.io/owner/app"),
        ("index.docker.io/alpine", "docker.io/library/alpine"),
        ("registry-1.docker.io/library/alpine", "docker.io/library/alpine"),
        ("ghcr.io/owner/app", "ghcr.io/owner/app"),
        ("ghcr.io/app", "ghcr.io/app"),
        ("github.example/owner/app", "ghcr.io/owner/app"),
        ("registry:5000/app", "registry:5000/app"),
    ],
)
def test_by_prefix_or_default(name: str, route: str) -> None:
    assert leads(name) == route


@pytest.mark.parametrize("name", ["quay.io/owner/app", "localhost/app", "registry/app:5000", "registry:5001/app"])
def test_a_prefix_that_is_not_configured_goes_nowhere(name: str) -> None:
    with pytest.raises((UnknownRegistry, InvalidName)):
        leads(name)


def test_the_port_is_part_of_a_registry() -> None:
    with pytest.raises(UnknownRegistry):
        leads("ghcr.io:443/owner/app")


@pytest.mark.parametrize(
    ("name", "namespace", "route"),
    [
        ("alpine", "docker.io", "docker.io/library/alpine"),
        ("owner/app", "ghcr.io", "ghcr.io/owner/app"),
        ("app", "ghcr.io", "ghcr.io/app"),
        ("owner/app", "GHCR.IO", "ghcr.io/owner/app"),
        ("owner/app", "index.docker.io", "docker.io/owner/app"),
        ("app", "registry:5000", "registry:5000/app"),
        ("ghcr.io/owner/app", "docker.io", "docker.io/ghcr.io/owner/app"),
    ],
)
def test_the_namespace_decides(name: str, namespace: str, route: str) -> None:
    assert leads(name, namespace) == route
    assert leads(name, namespace, host="local.example") == route


@pytest.mark.parametrize("namespace", ["", "quay.io", "docker.io:443", "docker.io.", " docker.io", "docker.io/library"])
def test_an_unknown_namespace_is_never_the_default(namespace: str) -> None:
    with pytest.raises(UnknownRegistry):
        leads("alpine", namespace)


@pytest.mark.parametrize(
    ("host", "route"),
    [
        ("ghcr.mirror.example", "ghcr.io/app"),
        ("ghcr.mirror.example:5000", "ghcr.io/app"),
        ("GHCR.Mirror.Example:80", "ghcr.io/app"),
        ("local.example", "registry:5000/app"),
        ("[::1]", "ghcr.io/app"),
        ("[::1]:5000", "ghcr.io/app"),
        ("127.0.0.1:5001", "ghcr.io/app"),
        ("127.0.0.1:5002", "docker.io/library/app"),
        ("127.0.0.1", "docker.io/library/app"),
        ("", "docker.io/library/app"),
        (":5000", "docker.io/library/app"),
        ("evil-ghcr.mirror.example", "docker.io/library/app"),
        ("ghcr.mirror.example:x", "docker.io/library/app"),
    ],
)
def test_by_host(host: str, route: str) -> None:
    assert leads("app", host=host) == route


def test_a_host_takes_the_whole_name() -> None:
    assert leads("docker.io/app", host="ghcr.mirror.example") == "ghcr.io/docker.io/app"


def test_a_name_that_is_valid_only_behind_its_registry() -> None:
    assert leads("registry:5000/app") == "registry:5000/app"
    for namespace, host in (("docker.io", ""), (None, "ghcr.mirror.example")):
        with pytest.raises(InvalidName):
            leads("registry:5000/app", namespace, host)


def test_the_default_can_be_another() -> None:
    routing = Routing(UPSTREAMS, "ghcr.io")
    assert routing.route(Name.parse("app"), None, "") == Route("ghcr.io", Repository("app"))


def test_only_docker_hub_has_a_library() -> None:
    routing = Routing([UpstreamNames("hub.example")], "hub.example")
    assert str(routing.route(Name.parse("alpine"), None, "")) == "hub.example/alpine"
