from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import InvalidPage
from mirror.oci.paging import LONGEST_PAGE, PageAsked
from mirror.oci.tags import in_order
from tests.unit.oci.strategies import tags

SOME = in_order(["a", "B", "c", "D", "e"])


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", PageAsked(LONGEST_PAGE, "")),
        ("n=5", PageAsked(5, "")),
        ("n=0", PageAsked(0, "")),
        ("n=007", PageAsked(7, "")),
        ("last=b", PageAsked(LONGEST_PAGE, "b")),
        ("last=b&n=2&ns=docker.io", PageAsked(2, "b")),
        ("n=2&n=x", PageAsked(2, "")),
        ("last=a&last=b", PageAsked(LONGEST_PAGE, "a")),
        ("last=", PageAsked(LONGEST_PAGE, "")),
        ("last=%00%ff", PageAsked(LONGEST_PAGE, "\0\ufffd")),
        ("n=1000000", PageAsked(LONGEST_PAGE, "")),
        ("N=x", PageAsked(LONGEST_PAGE, "")),
    ],
)
def test_what_a_query_asks_for(query: str, asked: PageAsked) -> None:
    assert PageAsked.parse(query) == asked


@pytest.mark.parametrize(
    "number", ["", "x", "-1", "%2B1", "+1", "1.5", "1e3", "0x10", "%201", "1%20", "1_000", "\u0661", "9" * 19]
)
def test_what_is_no_number_of_tags(number: str) -> None:
    with pytest.raises(InvalidPage):
        PageAsked.parse(f"n={number}")


@given(st.text(max_size=40) | st.text("nlast=&%;?0123aF.+-", max_size=30))
def test_no_query_does_worse_than_be_refused(query: str) -> None:
    try:
        asked = PageAsked.parse(query)
    except InvalidPage:
        return
    assert 0 <= asked.size <= LONGEST_PAGE
    assert len(asked.cut(SOME).tags) <= asked.size


@pytest.mark.parametrize(
    ("size", "last", "page", "is_last"),
    [
        (2, "", ("a", "B"), False),
        (2, "B", ("c", "D"), False),
        (2, "b", ("c", "D"), False),
        (2, "A", ("a", "B"), False),
        (2, "D", ("e",), True),
        (1, "D", ("e",), True),
        (5, "", SOME, True),
        (9, "", SOME, True),
        (9, "e", (), True),
        (9, "zzz", (), True),
        (9, "bb", ("c", "D", "e"), True),
        (0, "", (), True),
        (0, "a", (), True),
    ],
)
def test_a_page_of_a_list(size: int, last: str, page: tuple[str, ...], is_last: bool) -> None:
    cut = PageAsked(size, last).cut(SOME)
    assert (cut.tags, cut.is_last) == (page, is_last)


def test_a_list_of_nothing_has_one_page() -> None:
    assert PageAsked(5, "").cut(()).is_last


@given(st.lists(tags), st.integers(1, 5), st.none() | st.text())
def test_who_follows_the_links_sees_every_tag_once(names: list[str], size: int, namespace: str | None) -> None:
    whole = in_order(names)
    seen: list[str] = []
    asked = PageAsked(size, "")
    while True:
        page = asked.cut(whole)
        seen += page.tags
        if page.is_last:
            break
        query = asked.behind(page, namespace)
        assert query.isascii()
        assert parse_qs(query, keep_blank_values=True).get("ns", [None]) == [namespace]
        asked = PageAsked.parse(query)
    assert tuple(seen) == whole
