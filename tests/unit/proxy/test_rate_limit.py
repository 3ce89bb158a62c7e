from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.rate_limit import LONGEST_STRETCHED, RateLimit, Reserve, Spending, stretched

TTLS = st.timedeltas(timedelta(), timedelta.max)


@pytest.mark.parametrize(
    ("ttl", "longer"),
    [
        (timedelta(), timedelta()),
        (timedelta(minutes=5), timedelta(minutes=20)),
        (timedelta(minutes=30), timedelta(hours=1)),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(days=1), timedelta(days=1)),
        (timedelta.max, timedelta.max),
    ],
)
def test_while_pulls_are_saved_ttls_are_longer(ttl: timedelta, longer: timedelta) -> None:
    assert stretched(ttl) == longer


@given(TTLS, TTLS)
def test_no_ttl_becomes_shorter_nor_overtakes_another(one: timedelta, other: timedelta) -> None:
    assert one <= stretched(one) <= max(one, LONGEST_STRETCHED)
    assert (stretched(one) <= stretched(other)) or one > other


@given(st.builds(Reserve, st.floats(0, 1), st.integers(0, 10**9)), st.integers(1, 10**9))
def test_a_reserve_is_a_part_of_the_limit(reserve: Reserve, limit: int) -> None:
    assert 0 <= reserve.of(limit) <= limit


def test_what_is_best_comes_first() -> None:
    # What may be spent on an upstream is the first of what its accounts may spend.
    assert list(Spending) == [Spending.FREE, Spending.SAVING, Spending.EXHAUSTED]
    assert RateLimit(100, 5).window is None
