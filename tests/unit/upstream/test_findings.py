from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from mirror.upstream.findings import RateLimit, clock_ahead, rate_limit

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TEXTS = st.text(st.characters(codec="latin-1"), max_size=20)


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("100;w=21600", "20;w=21600", RateLimit(100, 20, 21600)),
        ("100", "0", RateLimit(100, 0, None)),
        (" 100 ; w=60 ", "1;w=60", RateLimit(100, 1, 60)),
        ("100", "", None),
        ("", "5", None),
        ("many", "few", None),
        ("-1", "-1", None),
        ("99999999999999999999", "1", None),
        ("100;q=1", "5", None),
    ],
)
def test_rate_limits(limit: str, remaining: str, expected: RateLimit | None) -> None:
    headers = CIMultiDict({"ratelimit-limit": limit, "RateLimit-Remaining": remaining})
    assert rate_limit(headers) == expected


@pytest.mark.parametrize(("date", "ahead"), [(format_datetime(NOW), 5.0), ("", None), ("yesterday", None), ("0", None)])
def test_how_far_a_clock_is_ahead(date: str, ahead: float | None) -> None:
    assert clock_ahead({"Date": date}, NOW.timestamp() + 5) == ahead


@given(TEXTS, TEXTS)
def test_no_header_is_too_strange(one: str, other: str) -> None:
    rate_limit(CIMultiDict({"RateLimit-Limit": one, "RateLimit-Remaining": other}))
    clock_ahead({"Date": one}, 0.0)
