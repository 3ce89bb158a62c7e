from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamTimeout
from mirror.proxy.fills.retry import (
    EARNED_BY,
    FIRST_PAUSE,
    GIVE_UP_AFTER,
    LEAST_PACE,
    PACE_SECONDS,
    RESUMES,
    Pace,
    RetryBudget,
)

seconds = st.floats(0, GIVE_UP_AFTER - 1)
steps = st.lists(st.tuples(st.integers(0, EARNED_BY), st.floats(0, 20)), max_size=60)
"""Each a try that brought so many bytes after so many seconds."""


@given(seconds)
def test_without_progress_there_are_only_so_many_resumes(now: float) -> None:
    budget = RetryBudget(0)
    assert [budget.spend(now) is not None for _ in range(RESUMES + 3)] == [True] * RESUMES + [False] * 3


@given(steps)
def test_a_resume_too_many_was_earned(tries: list[tuple[int, float]]) -> None:
    budget, now, spent, brought = RetryBudget(0), 0.0, 0, 0
    for size, took in tries:
        now += took
        if size:
            budget.progressed(size, now)
        brought += size
        spent += budget.spend(now) is not None
        assert spent <= RESUMES + brought // EARNED_BY


@given(st.lists(st.integers(1, EARNED_BY), min_size=1, max_size=40))
def test_progress_earns_whatever_its_pieces(sizes: list[int]) -> None:
    budget = RetryBudget(0)
    for _ in range(RESUMES):
        assert budget.spend(0) is not None
    for size in sizes:
        budget.progressed(size, 0)
    left = sum(budget.spend(0) is not None for _ in range(2 * RESUMES))
    assert left == min(RESUMES, sum(sizes) // EARNED_BY)


def test_what_was_earned_in_one_piece_counts_in_full() -> None:
    budget = RetryBudget(0)
    for _ in range(RESUMES):
        budget.spend(0)
    budget.progressed(3 * EARNED_BY, 0)
    assert [budget.spend(0) is not None for _ in range(4)] == [True, True, True, False]


def test_each_resume_that_brings_nothing_doubles_the_pause() -> None:
    budget = RetryBudget(0)
    assert [budget.spend(0) for _ in range(RESUMES)] == [FIRST_PAUSE * 2**n for n in range(RESUMES)]


def test_progress_makes_the_pause_short_again() -> None:
    budget = RetryBudget(0)
    budget.spend(0)
    budget.spend(0)
    budget.progressed(1, 0)
    assert budget.spend(0) == FIRST_PAUSE


@given(seconds, st.floats(0, 2 * GIVE_UP_AFTER))
def test_it_is_time_to_give_up_a_while_after_the_last_new_byte(progressed_at: float, waited: float) -> None:
    budget = RetryBudget(0)
    budget.progressed(1, progressed_at)
    now = progressed_at + waited
    assert (budget.spend(now) is None) is (now - progressed_at >= GIVE_UP_AFTER)


reads = st.lists(st.tuples(st.integers(0, 8 * LEAST_PACE), st.floats(0.01, 15)), min_size=1, max_size=60)
"""Each so many bytes after so many seconds."""


@given(reads)
def test_an_upstream_is_too_slow_only_where_a_whole_period_was(arrived: list[tuple[int, float]]) -> None:
    pace = Pace()
    try:
        for size, waited in arrived:
            pace.received(size, waited)
    except UpstreamTimeout:
        # Some stretch that ends here was at least as long as a period, and slower than the least pace.
        assert any(
            sum(w for _, w in stretch) >= PACE_SECONDS and sum(s for s, _ in stretch) < LEAST_PACE * _waited(stretch)
            for stretch in itertools.accumulate(([one] for one in reversed(arrived)), lambda a, b: b + a)
        )


@given(st.integers(0, LEAST_PACE - 1), st.floats(0.1, 15))
def test_a_steady_trickle_below_the_least_pace_ends(pace_of_upstream: int, each: float) -> None:
    pace = Pace()
    for _ in range(int(PACE_SECONDS / each) - 1):
        pace.received(int(pace_of_upstream * each), each)
    with pytest.raises(UpstreamTimeout):
        _receive(pace, int(pace_of_upstream * each), each, times=3)


@given(st.floats(0.1, 15))
def test_a_steady_stream_at_the_least_pace_goes_on(each: float) -> None:
    pace = Pace()
    for _ in range(int(5 * PACE_SECONDS / each)):
        pace.received(int(LEAST_PACE * each) + 1, each)


def test_only_the_time_spent_waiting_for_upstream_counts() -> None:
    pace = Pace()
    for _ in range(10_000):
        pace.received(1, 0.0)


def _receive(pace: Pace, size: int, waited: float, times: int) -> None:
    for _ in range(times):
        pace.received(size, waited)


def _waited(stretch: list[tuple[int, float]]) -> float:
    return sum(waited for _, waited in stretch)
