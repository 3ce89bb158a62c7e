"""The CDN-Loop header: members are found whole, whatever is around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.server.cdn_loop import id_of, parse_members


@pytest.mark.parametrize(
    ("headers", "members"),
    [
        ([], ()),
        ([""], ()),
        ([" , ,, "], ()),
        (["foo"], ("foo",)),
        (['a.cdn.example, b.example; trace="abcdef"'], ("a.cdn.example", 'b.example; trace="abcdef"')),
        (['AnotherCDN; abc=123; def="456"'], ('AnotherCDN; abc=123; def="456"',)),
        (["a.example:8080,[2001:db8::1]:443"], ("a.example:8080", "[2001:db8::1]:443")),
        (["one", "two, three"], ("one", "two", "three")),
        (['a;x="1,2", b'], ('a;x="1,2"', "b")),
        (['a;x="\\"", b'], ('a;x="\\""', "b")),
        (["a, a"], ("a", "a")),
        # What is no member is left out, and what stands beside it is not.
        (["a b, c"], ("c",)),
        (["(comment), c"], ("c",)),
        (["a;x, c"], ("c",)),
        (['a;x="open, c'], ("c",)),
        (["a;;x=1, c"], ("c",)),
        (["\u00e9, c"], ("c",)),
        (["a\x00, c"], ("c",)),
        (["mirror-1\t, mirror-2"], ("mirror-1", "mirror-2")),
    ],
)
def test_members(headers: list[str], members: tuple[str, ...]) -> None:
    assert parse_members(headers) == members


def test_an_id_is_what_comes_before_parameters() -> None:
    assert list(map(id_of, ('a ; x="1;2"', "b:80", "c;y=1"))) == ["a", "b:80", "c"]


lines = st.lists(st.text(alphabet='ab;=", \\\t[]:\u00e9\x00', max_size=40), max_size=3)


@given(lines, st.sampled_from(["m-1", "m-2;x=1"]))
def test_what_a_mirror_adds_is_found_behind_whatever_it_has_let_through(headers: list[str], own: str) -> None:
    passed_on = ", ".join((*parse_members(headers), own))
    assert parse_members([passed_on]) == (*parse_members(headers), own)


@given(st.text(max_size=200))
def test_whatever_is_read_is_plain(text: str) -> None:
    for member in parse_members([text]):
        assert member.isascii()
        assert "\n" not in member
        assert "\r" not in member
