from __future__ import annotations

import pytest
from yarl import URL

from mirror.cli.setup.site import Site, mirror_url, site_of
from mirror.config import Config, UpstreamConfig
from mirror.config.units import Address


def site(config: Config, url: str = "http://127.0.0.1:5000") -> Site:
    return site_of(config, URL(url))


def test_clients_are_told_every_upstream_by_its_name() -> None:
    config = Config()
    assert site(config).registries == tuple(config.upstreams)
    assert site(config).default == "docker.io"


def test_an_upstream_that_no_image_can_begin_with_goes_by_an_alias() -> None:
    hub = UpstreamConfig(aliases=("registry", "docker.io", "index.docker.io"))
    upstreams = {"hub": hub, "plain": UpstreamConfig(), "localhost": UpstreamConfig()}
    seen = site(Config(default_upstream="hub", upstreams=upstreams))
    assert seen.registries == ("docker.io", "localhost")
    assert seen.default == "docker.io"


def test_a_default_that_no_image_can_begin_with_goes_by_its_name() -> None:
    assert site(Config(default_upstream="plain", upstreams={"plain": UpstreamConfig()})).default == "plain"


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:5000", "http://127.0.0.1:5000"),
        ("[::]:5000", "http://localhost:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("10.1.2.3:80", "http://10.1.2.3"),
        ("localhost:5000", "http://localhost:5000"),
    ],
)
def test_the_address_is_what_this_machine_reaches(listen: str, url: str) -> None:
    assert str(mirror_url(None, Address.parse(listen))) == url


def test_an_open_port_needs_a_url() -> None:
    listen = Address("127.0.0.1", 0)
    with pytest.raises(ValueError, match="listen"):
        mirror_url(None, listen)
    assert str(mirror_url("http://cache.lan:5000", listen)) == "http://cache.lan:5000"


@pytest.mark.parametrize(
    "url", ["http://cache.lan:5000", "http://cache.lan:5000/", "https://cache.example", "http://[::1]:5000"]
)
def test_addresses_of_mirrors(url: str) -> None:
    assert str(mirror_url(url, Address("127.0.0.1", 1))) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cache.lan:5000",
        "ftp://cache.lan",
        "http://",
        "http://:5000",
        "http://cache.lan/path",
        "http://cache.lan:5000/docker.io",
        "http://user:hunter2@cache.lan",
        "http://cache.lan?x=1",
        "http://cache.lan#x",
        "http://cache.lan:port",
        "http://cache.lan:99999",
        'http://cache".lan',
        "http://cache lan",
        "http://cache.lan\n",
        "http://[::1",
        "http://[x]",
    ],
)
def test_what_is_no_address_of_a_mirror(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        mirror_url(url, Address("127.0.0.1", 1))


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://127.8.8.8", True),
        ("http://[::1]", True),
        ("http://localhost:1", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example", False),
    ],
)
def test_what_only_this_machine_reaches(url: str, is_local: bool) -> None:
    assert site(Config(), url).is_local is is_local
