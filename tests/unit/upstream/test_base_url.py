"""What a repository is called at an endpoint, and where that is."""

from __future__ import annotations

import pytest
from yarl import URL

from mirror.errors import UpstreamInvalid
from mirror.oci.reference import Repository
from mirror.upstream.base_url import BaseUrl

ALPINE = Repository("library/alpine")


def test_without_a_path_names_are_as_they_are() -> None:
    base = BaseUrl(URL("https://a.example:443"))
    assert base.named(ALPINE) == ALPINE
    assert str(base.origin) == "https://a.example"
    assert str(base.target("library/alpine/tags/list")) == "https://a.example/v2/library/alpine/tags/list"


def test_a_path_goes_before_names_and_behind_v2() -> None:
    base = BaseUrl(URL("https://h.example/team/hub"))
    assert str(base.named(ALPINE)) == "team/hub/library/alpine"
    assert base.named(ALPINE).pull_scope == "repository:team/hub/library/alpine:pull"
    assert str(base.origin) == "https://h.example"
    assert str(base.target("")) == "https://h.example/v2/"
    assert str(base.target("x/tags/list", "n=1&last=%2F")) == "https://h.example/v2/x/tags/list?n=1&last=%2F"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "ns=ghcr.io"),
        ("n=1000", "n=1000&ns=ghcr.io"),
        # What a Link of a mirror leads on with.
        ("n=2&last=%2F&ns=ghcr.io", "n=2&last=%2F&ns=ghcr.io"),
        ("ns=evil.example&n=2&ns=other.example", "n=2&ns=ghcr.io"),
        ("ns", "ns=ghcr.io"),
        ("nsx=1&x=ns=1", "nsx=1&x=ns=1&ns=ghcr.io"),
    ],
)
def test_which_registry_is_meant_is_told_once(query: str, told: str) -> None:
    base = BaseUrl(URL("https://m.example"), "ghcr.io")
    assert str(base.target("x/tags/list", query)) == f"https://m.example/v2/x/tags/list?{told}"


def test_a_port_is_a_part_of_which_registry_is_meant() -> None:
    base = BaseUrl(URL("https://m.example"), "registry.example:5000")
    assert base.target("").query["ns"] == "registry.example:5000"


def test_a_name_that_is_too_long_there_is_the_fault_of_the_endpoint() -> None:
    name = Repository("a" * 250)
    with pytest.raises(UpstreamInvalid, match="the path of the endpoint makes the name too long"):
        BaseUrl(URL("https://h.example/prefix")).named(name)
