from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamInvalid
from mirror.oci.tags import in_order, parse_tags
from tests.unit.oci.strategies import tags


def page(tags: object) -> bytes:
    """A page of a list as registries write it."""
    return json.dumps({"name": "library/alpine", "tags": tags}).encode()


@pytest.mark.parametrize(
    ("data", "listed"),
    [
        (page(["b", "a"]), ["b", "a"]),
        (page([]), []),
        (page(None), []),
        (b'{"tags": ["a"]}', ["a"]),
        (b'{"tags": ["a"], "child": [], "manifest": {"sha256:0": {"tag": ["a"]}}}', ["a"]),
        (page(["a", "", ".b", "-", "c d", "d" * 129, "\u00e9", "a\n", "x/y", "sha256:0"]), ["a"]),
    ],
)
def test_what_a_page_lists(data: bytes, listed: list[str]) -> None:
    assert parse_tags(data) == listed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'["a"]',
        b"{}",
        b'{"errors": []}',
        b"\xff",
        page("a"),
        page({"a": 1}),
        page(0),
        page(False),
        page([1]),
        page(["a", None]),
        page(["a", ["b"]]),
        b'{"tags": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_page_is_not_an_empty_one(data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        parse_tags(data)


@given(st.binary(max_size=60) | st.text('{}[]":,tags null1', max_size=40).map(str.encode))
def test_no_page_does_worse_than_be_invalid(data: bytes) -> None:
    try:
        assert all(isinstance(tag, str) for tag in parse_tags(data))
    except UpstreamInvalid:
        return


def test_the_order_is_without_regard_to_case() -> None:
    assert in_order(["b", "B", "a", "_", "1.0", "C", "a"]) == ("1.0", "_", "a", "B", "b", "C")


@given(st.lists(tags))
def test_an_order_of_all_tags_each_once(names: list[str]) -> None:
    ordered = in_order(names)
    assert set(ordered) == set(names)
    assert len(set(ordered)) == len(ordered)
    lowered = [name.lower() for name in ordered]
    assert lowered == sorted(lowered)
    assert in_order(reversed(ordered)) == ordered
