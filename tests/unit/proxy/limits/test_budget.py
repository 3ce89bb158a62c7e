from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.limits.budget import DOUBT_SECONDS, LOOK_SECONDS, Budget
from mirror.proxy.limits.hold import HOLD_SECONDS, LONGEST_HOLD, Cost, hold_seconds
from mirror.proxy.rate_limit import RateLimit, Reserve, Spending

NOW = 1_700_000_000.0
WINDOW = 21600
TENTH = Reserve(share=0.1)
RATES = st.builds(
    lambda limit, left, window: RateLimit(limit, min(limit, left), window),
    st.integers(1, 1000),
    st.integers(0, 1000),
    st.none() | st.integers(1, 100_000),
)
COSTS = st.sampled_from(Cost)
RESERVES = st.builds(Reserve, st.floats(0, 1), st.integers(0, 1000))


def told(remaining: int, reserve: Reserve = TENTH) -> Budget:
    """A budget of which this was said just now."""
    budget = Budget(reserve)
    budget.told(RateLimit(100, remaining, WINDOW), NOW)
    return budget


@pytest.mark.parametrize(
    ("remaining", "spending"),
    [
        (100, Spending.FREE),
        (11, Spending.FREE),
        (10, Spending.SAVING),
        (1, Spending.SAVING),
        (0, Spending.EXHAUSTED),
    ],
)
def test_below_the_reserve_pulls_are_saved(remaining: int, spending: Spending) -> None:
    assert told(remaining).spending(NOW) is spending


@pytest.mark.parametrize(
    ("reserve", "limit", "saved_up_to"),
    [
        (TENTH, 100, 15),
        (TENTH, 10, 2),
        (TENTH, 2, 1),
        (Reserve(pulls=80), 100, 90),
        (Reserve(share=1.0), 100, 100),
        (Reserve(), 9, 0),
    ],
)
def test_saving_ends_when_half_as_much_again_has_come_back(reserve: Reserve, limit: int, saved_up_to: int) -> None:
    budget = Budget(reserve)
    for remaining in range(reserve.of(limit), limit + 1):
        budget.told(RateLimit(limit, remaining, WINDOW), NOW)
        expected = Spending.SAVING if remaining <= saved_up_to else Spending.FREE
        assert budget.spending(NOW) is (expected if remaining else Spending.EXHAUSTED)


def test_a_limit_that_gives_back_pulls_one_by_one_changes_nothing_around_the_reserve() -> None:
    budget = told(10)
    for remaining in (11, 10, 11, 12, 11, 10, 9, 10, 11):
        budget.told(RateLimit(100, remaining, WINDOW), NOW)
        assert budget.spending(NOW) is Spending.SAVING
    # What was saved in a window that is over is over.
    budget.told(RateLimit(100, 12, WINDOW), NOW + WINDOW)
    assert budget.spending(NOW + WINDOW) is Spending.FREE


def test_without_a_reserve_all_is_spent() -> None:
    assert told(1, Reserve()).spending(NOW) is Spending.FREE
    assert told(0, Reserve()).spending(NOW) is Spending.EXHAUSTED


def test_who_tells_of_no_limit_has_none() -> None:
    budget = Budget(Reserve(share=1.0))
    budget.answered(Cost.PULL)
    assert budget.rate(NOW) is None
    assert budget.spending(NOW) is Spending.FREE
    assert not budget.is_doubtful(NOW)


def test_an_answer_without_a_word_on_the_limit_takes_nothing_back() -> None:
    # Docker Hub says nothing with images that it does not count.
    budget = told(0)
    budget.answered(Cost.PULL)
    assert budget.spending(NOW) is Spending.EXHAUSTED


@pytest.mark.parametrize(("later", "holds"), [(0, True), (WINDOW - 1, True), (WINDOW, False), (-1, False)])
def test_what_was_said_holds_for_its_window_and_not_before_it_was_said(later: float, holds: bool) -> None:
    budget = told(0)
    assert (budget.rate(NOW + later) is not None) is holds
    assert (budget.spending(NOW + later) is Spending.EXHAUSTED) is holds


def test_what_is_under_way_is_spent() -> None:
    budget = told(12)
    begun_at = NOW + 1
    budget.begin()
    budget.begin()
    assert budget.spending(NOW) is Spending.SAVING
    budget.told(RateLimit(100, 11, WINDOW), NOW + 2)
    budget.end(begun_at)
    assert budget.rate(NOW + 2) == RateLimit(100, 10, WINDOW)
    # The registry has said since how much is left, so it is not counted twice.
    budget.end(begun_at)
    assert budget.rate(NOW + 2) == RateLimit(100, 11, WINDOW)


def test_a_pull_of_which_nothing_was_heard_may_have_been_counted() -> None:
    budget = told(12)
    budget.begin()
    budget.end(NOW + 1)
    assert budget.rate(NOW + 1) == RateLimit(100, 11, WINDOW)


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [(None, HOLD_SECONDS), (0, 1), (-5, 1), (17, 17), (10**9, LONGEST_HOLD)]
)
def test_after_a_429_nothing_is_asked_for_a_while(retry_after: float | None, seconds: float) -> None:
    budget = Budget(Reserve())
    budget.throttled(Cost.NOTHING, retry_after, NOW)
    assert hold_seconds(retry_after) == seconds
    assert budget.held_for(Cost.NOTHING, NOW) == budget.wait(Cost.PULL, NOW) == seconds
    assert budget.held_for(Cost.NOTHING, NOW + seconds - 0.5) == 0.5
    assert budget.held_for(Cost.NOTHING, NOW + seconds) == 0
    # That there is something again has to be shown; but not for ever.
    assert budget.spending(NOW + seconds + DOUBT_SECONDS - 1) is Spending.EXHAUSTED
    assert budget.spending(NOW + seconds + DOUBT_SECONDS) is Spending.FREE
    budget.answered(Cost.PULL)
    assert budget.spending(NOW + seconds - 0.5) is Spending.EXHAUSTED
    assert budget.spending(NOW + seconds) is Spending.FREE


def test_a_clock_that_is_set_back_does_not_hold_for_ever() -> None:
    budget = Budget(Reserve())
    budget.throttled(Cost.NOTHING, 17, NOW)
    assert budget.held_for(Cost.NOTHING, NOW - 86400) == 0
    assert budget.look(NOW)
    assert budget.look(NOW - 86400)


def test_a_shorter_hold_does_not_end_a_longer_one() -> None:
    budget = Budget(Reserve())
    budget.throttled(Cost.NOTHING, 600, NOW)
    budget.throttled(Cost.NOTHING, 1, NOW + 1)
    assert budget.held_for(Cost.NOTHING, NOW + 1) == 599


@pytest.mark.parametrize("refused", list(Cost))
def test_what_costs_less_than_what_was_refused_goes_on(refused: Cost) -> None:
    budget = Budget(Reserve())
    budget.throttled(refused, 30, NOW)
    assert [cost for cost in Cost if budget.held_for(cost, NOW)] == [cost for cost in Cost if cost >= refused]
    assert budget.spending(NOW) is Spending.EXHAUSTED


@pytest.mark.parametrize("refused", list(Cost))
@pytest.mark.parametrize("answered", list(Cost))
def test_that_blobs_come_is_no_sign_that_pulls_do(refused: Cost, answered: Cost) -> None:
    budget = Budget(Reserve())
    budget.throttled(refused, 30, NOW)
    budget.throttled(Cost.NOTHING, 30, NOW)
    budget.answered(answered)
    assert budget.is_doubtful(NOW + 30) is (refused is not Cost.NOTHING and answered is Cost.NOTHING)


def test_after_a_429_something_free_is_asked_first_until_it_is_answered() -> None:
    budget = Budget(Reserve())
    budget.throttled(Cost.NOTHING, 1, NOW)
    assert budget.is_doubtful(NOW + 60)
    budget.answered(Cost.PULL)
    assert not budget.is_doubtful(NOW + 60)
    budget.throttled(Cost.NOTHING, 1, NOW)
    budget.told(RateLimit(100, 0, WINDOW), NOW + 60)
    assert budget.is_doubtful(NOW + 60)
    budget.told(RateLimit(100, 1, WINDOW), NOW + 61)
    assert not budget.is_doubtful(NOW + 61)


def test_it_is_seldom_seen_whether_something_is_left_again() -> None:
    budget = told(0)
    assert not budget.look(NOW + LOOK_SECONDS - 1)
    assert budget.wait(Cost.PULL, NOW + LOOK_SECONDS - 1) == 1
    assert budget.look(NOW + LOOK_SECONDS)
    assert not budget.look(NOW + LOOK_SECONDS)


@given(RATES, RESERVES, st.integers(0, 5))
def test_more_is_never_worse(rate: RateLimit, reserve: Reserve, under_way: int) -> None:
    order = list(Spending)
    less, more = Budget(reserve), Budget(reserve)
    less.told(rate, NOW)
    more.told(RateLimit(rate.limit, min(rate.limit, rate.remaining + 1), rate.window), NOW)
    for _ in range(under_way):
        less.begin()
        more.begin()
    assert order.index(more.spending(NOW)) <= order.index(less.spending(NOW))


@given(st.data())
def test_whatever_is_heard_it_comes_to_an_end(data: st.DataObject) -> None:
    budget, now, latest, under_way = Budget(Reserve(share=1.0)), NOW, NOW, 0
    for _ in range(data.draw(st.integers(0, 15))):
        now += data.draw(st.floats(-1e6, 1e6))
        latest = max(latest, now)
        match data.draw(st.sampled_from(["told", "answered", "throttled", "begin", "end", "look"])):
            case "told":
                budget.told(data.draw(RATES), now)
            case "throttled":
                budget.throttled(data.draw(COSTS), data.draw(st.none() | st.floats(-1e12, 1e12)), now)
            case "begin":
                budget.begin()
                under_way += 1
            case "end" if under_way:
                budget.end(now)
                under_way -= 1
            case "look":
                budget.look(now)
            case _:
                budget.answered(data.draw(COSTS))
        rate = budget.rate(now)
        assert rate is None or 0 <= rate.remaining <= rate.limit
        held = [budget.held_for(cost, now) for cost in Cost]
        assert 0 <= held[0] <= held[1] <= held[2] <= LONGEST_HOLD
        assert budget.wait(Cost.PULL, now) <= max(LONGEST_HOLD, LOOK_SECONDS)
    assert budget.spending(latest + 200_000) is Spending.FREE
    assert budget.look(latest + 200_000)


@pytest.mark.parametrize(
    ("reserve", "limit", "pulls"),
    [
        (Reserve(share=0.1), 100, 10),
        (Reserve(share=0.1), 5, 1),
        (Reserve(share=1.0), 100, 100),
        (Reserve(pulls=20), 100, 20),
        (Reserve(pulls=200), 100, 100),
        (Reserve(), 100, 0),
    ],
)
def test_how_much_a_reserve_is(reserve: Reserve, limit: int, pulls: int) -> None:
    assert reserve.of(limit) == pulls
    assert math.isclose(reserve.of(limit), pulls)
