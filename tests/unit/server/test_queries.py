from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import RequestError, UnknownRegistry
from mirror.server.queries import namespace


@pytest.mark.parametrize(
    ("query", "registry"),
    [
        ("", None),
        ("x=1", None),
        ("NS=docker.io", None),
        ("ns", ""),
        ("ns=", ""),
        ("ns=docker.io", "docker.io"),
        ("x=1&ns=docker.io&y=2", "docker.io"),
        ("ns=registry%3A5000", "registry:5000"),
        ("n%73=docker.io", "docker.io"),
        ("ns=a=b", "a=b"),
        ("ns=%00", "\0"),
        ("ns=%0d%0aX-Evil:1", "\r\nX-Evil:1"),
    ],
)
def test_the_namespace_of_a_query(query: str, registry: str | None) -> None:
    assert namespace(query) == registry


@pytest.mark.parametrize("query", ["ns=docker.io&ns=ghcr.io", "ns=docker.io&ns=docker.io", "ns=&ns=x", "ns=a&n%73=b"])
def test_two_namespaces_are_none(query: str) -> None:
    with pytest.raises(UnknownRegistry):
        namespace(query)


@given(st.text(max_size=40) | st.text("ns=&%;?0aF.", max_size=30))
def test_no_query_does_worse_than_be_refused(query: str) -> None:
    try:
        namespace(query)
    except RequestError:
        return
