from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.probing.findings import clock_ahead

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TEXTS = st.text(st.characters(codec="latin-1"), max_size=20)


@pytest.mark.parametrize(("date", "ahead"), [(format_datetime(NOW), 5.0), ("", None), ("yesterday", None), ("0", None)])
def test_how_far_a_clock_is_ahead(date: str, ahead: float | None) -> None:
    assert clock_ahead({"Date": date}, NOW.timestamp() + 5) == ahead


@given(TEXTS)
def test_no_date_is_too_strange(one: str) -> None:
    clock_ahead({"Date": one}, 0.0)
