from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from mirror.proxy.rate_limit import RateLimit
from mirror.upstream.rate_limit import counted_for, rate_limit

LATIN = st.text(st.characters(codec="latin-1"), max_size=30)
PIECES = st.sampled_from(
    ["100", "0", ";", ",", "=", "w", "w=21600", " ", "-1", "1e3", "9" * 400, "\t", "\xb2", '"', "burst"]
)
TEXTS = LATIN | st.lists(PIECES, max_size=12).map("".join)


def headers(limit: str, remaining: str) -> CIMultiDict[str]:
    return CIMultiDict({"ratelimit-limit": limit, "RateLimit-Remaining": remaining})


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("100;w=21600", "20;w=21600", RateLimit(100, 20, 21600)),
        ("100", "0", RateLimit(100, 0)),
        (" 100 ; w=60 ", "1;w=60", RateLimit(100, 1, 60)),
        ("100", "1;w=60", RateLimit(100, 1, 60)),
        ("100;w=0", "1", RateLimit(100, 1)),
        ("100;w=soon", "1", RateLimit(100, 1)),
        ("100;burst=20;w=60", "1", RateLimit(100, 1, 60)),
        ("100, 100;w=60, 5000;w=3600", "7", RateLimit(100, 7)),
        ("100;w=60", "500;w=60", RateLimit(100, 100, 60)),
        ("0;w=60", "0;w=60", None),
        ("100", "", None),
        ("", "5", None),
        ("many", "few", None),
        ("-1", "-1", None),
        ("1e2", "1", None),
        ("99999999999999999999", "1", None),
        ("\xb9\xb2", "1", None),
        (";w=60", "1", None),
    ],
)
def test_what_the_headers_say(limit: str, remaining: str, expected: RateLimit | None) -> None:
    assert rate_limit(headers(limit, remaining)) == expected


def test_without_headers_there_is_no_limit() -> None:
    assert rate_limit(CIMultiDict()) is None
    assert counted_for(CIMultiDict()) is None


@given(TEXTS, TEXTS)
def test_no_header_is_too_strange(limit: str, remaining: str) -> None:
    found = rate_limit(headers(limit, remaining))
    if found is not None:
        assert 0 <= found.remaining <= found.limit < 10**9
        assert found.window is None or 0 < found.window < 10**9


@given(st.integers(1, 10**9 - 1), st.integers(0, 10**9 - 1), st.integers(1, 10**9 - 1))
def test_what_is_written_is_read(limit: int, remaining: int, window: int) -> None:
    said = headers(f"{limit};w={window}", f"{min(limit, remaining)};w={window}")
    assert rate_limit(said) == RateLimit(limit, min(limit, remaining), window)


@pytest.mark.parametrize(("value", "source"), [("203.0.113.7", "203.0.113.7"), (" a-b-c ", "a-b-c"), ("", None)])
def test_for_whom_it_counts(value: str, source: str | None) -> None:
    assert counted_for(CIMultiDict({"docker-ratelimit-source": value})) == source
