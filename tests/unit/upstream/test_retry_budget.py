from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.health.retry_budget import BURST, ONE_EVERY, SHARE, RetryBudget


def spent(budget: RetryBudget, now: float) -> int:
    """How many retries there are at once."""
    return next(count for count in range(1000) if not budget.spend(now))


def test_a_quiet_mirror_can_retry() -> None:
    assert spent(RetryBudget(), 0) == BURST


def test_a_fifth_of_the_requests_may_be_retried() -> None:
    budget = RetryBudget()
    spent(budget, 0)
    for _ in range(25):
        budget.requested()
    assert spent(budget, 0) == pytest.approx(25 * SHARE, abs=1)


def test_time_earns_a_little() -> None:
    budget = RetryBudget()
    spent(budget, 0)
    assert not budget.spend(ONE_EVERY * 0.9)
    assert budget.spend(ONE_EVERY)
    assert not budget.spend(ONE_EVERY)


def test_no_more_than_a_burst_is_saved_up() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.requested()
    budget.spend(0)
    assert spent(budget, 10**6) == BURST


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=200))
def test_retries_are_a_share_of_the_requests_and_a_floor(happenings: list[tuple[float, bool]]) -> None:
    budget, now, requests, retries = RetryBudget(), 0.0, 0, 0
    for seconds, is_retry in happenings:
        now += seconds
        if is_retry:
            retries += budget.spend(now)
        else:
            budget.requested()
            requests += 1
    assert retries <= BURST + SHARE * requests + now / ONE_EVERY + 1e-6
