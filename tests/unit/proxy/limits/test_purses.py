from __future__ import annotations

import asyncio
import math

import pytest

from mirror.errors import LimitReached
from mirror.proxy.events.limits import LimitTold, SpendingChanged
from mirror.proxy.limits.budget import DOUBT_SECONDS, LOOK_SECONDS
from mirror.proxy.limits.budgets import Budgets
from mirror.proxy.limits.hold import HOLD_SECONDS, Cost
from mirror.proxy.limits.purses import Purse
from mirror.proxy.rate_limit import RateLimit, Reserve, Spending
from tests.unit.proxy.doubles import SettableClock
from tests.unit.recorder import Recorder

ADDRESS = "203.0.113.7"


class House:
    """Docker Hub, of whose limits a tenth is kept in reserve."""

    def __init__(self) -> None:
        self.clock, self.observer = SettableClock(), Recorder()
        self.budgets = Budgets({"docker.io": Reserve(share=0.1), "ghcr.io": Reserve()}, self.clock, self.observer)

    def purse(self, account: str = "1", endpoint: str = "hub", *, pays: bool = True) -> Purse:
        return self.budgets.purse("docker.io", endpoint, account, "the mirror's account", pays=pays)

    def spending(self) -> Spending:
        return self.budgets.spending("docker.io")

    @property
    def changes(self) -> list[Spending]:
        return [event.spending for event in self.observer.of(SpendingChanged)]

    @property
    def told(self) -> LimitTold:
        """What is said of Docker Hub to whom wants to know."""
        self.budgets.tell()
        return [event for event in self.observer.of(LimitTold) if event.upstream == "docker.io"][-1]


def rate(remaining: int) -> RateLimit:
    return RateLimit(100, remaining, 21600)


def test_an_upstream_of_which_nothing_is_known_is_free() -> None:
    house = House()
    assert house.spending() is Spending.FREE
    house.purse()
    assert [house.spending(), house.budgets.spending("example.com")] == [Spending.FREE] * 2
    assert house.told == LimitTold("docker.io", Spending.FREE, None, math.inf)


def test_each_change_is_told_once() -> None:
    house = House()
    purse = house.purse()
    for remaining in (50, 49, 10, 9, 8, 1, 0, 0, 100, 99):
        purse.told(rate(remaining), None)
    assert house.changes == [Spending.SAVING, Spending.EXHAUSTED, Spending.FREE]
    assert house.observer.of(SpendingChanged)[0] == SpendingChanged("docker.io", Spending.SAVING, rate(10))


def test_pulls_that_come_back_one_by_one_are_no_news() -> None:
    house = House()
    purse = house.purse()
    for remaining in (11, 10, 11, 10, 12, 11, 9):
        purse.told(rate(remaining), None)
    for _ in range(5):
        purse.told(rate(0), None)
        purse.told(rate(1), None)
        # They can be spent all the same.
        assert house.spending() is Spending.SAVING
        assert house.told.spending is Spending.EXHAUSTED
    for remaining in (2, 3, 10, 15, 16):
        purse.told(rate(remaining), None)
    assert house.changes == [Spending.SAVING, Spending.EXHAUSTED, Spending.SAVING, Spending.FREE]


def test_one_429_after_another_is_one_change() -> None:
    house = House()
    for _ in range(10):
        house.purse().throttled(Cost.NOTHING, None)
        house.clock.now += HOLD_SECONDS
        assert house.told.spending is Spending.EXHAUSTED
    house.purse().answered(Cost.PULL)
    assert house.changes == [Spending.EXHAUSTED, Spending.FREE]


def test_a_429_that_is_long_ago_is_forgotten_when_somebody_wants_to_know() -> None:
    house = House()
    house.purse().throttled(Cost.NOTHING, None)
    house.clock.now += HOLD_SECONDS + DOUBT_SECONDS
    assert house.told.spending is Spending.FREE
    assert house.changes == [Spending.EXHAUSTED, Spending.FREE]


def test_the_richest_account_decides() -> None:
    house = House()
    first, second = house.purse("1"), house.purse("2")
    first.told(rate(5), "a")
    # Of the other one nothing is known yet.
    assert house.spending() is Spending.FREE
    second.told(rate(9), "b")
    assert house.spending() is Spending.SAVING
    assert sorted([first, second], key=lambda purse: purse.rank) == [second, first]
    second.throttled(Cost.NOTHING, 60)
    assert house.spending() is Spending.SAVING
    first.told(rate(0), "a")
    assert house.spending() is Spending.EXHAUSTED
    assert house.told.rate == RateLimit(200, 9, 21600)


def test_who_only_looks_does_not_count() -> None:
    house = House()
    house.purse("anybody", pays=False).told(rate(0), ADDRESS)
    house.purse("1").told(rate(50), "a")
    assert house.spending() is Spending.FREE
    assert house.told.rate == rate(50)
    # Until somebody pulls as anybody as well.
    house.purse("anybody", pays=True)
    assert house.told.rate == RateLimit(200, 50, 21600)


def test_the_same_account_has_one_purse() -> None:
    house = House()
    purse = house.purse("1")
    assert house.purse("1", pays=False) is purse
    assert purse.pays


def test_two_accounts_that_are_counted_together_share_a_budget() -> None:
    house = House()
    first, second = house.purse("1"), house.purse("2")
    first.told(rate(50), ADDRESS)
    second.told(rate(49), ADDRESS)
    assert first.budget is second.budget
    assert house.told.rate == rate(49)
    # An account of its own, from now on.
    second.told(rate(100), "somebody")
    assert first.budget is not second.budget
    assert house.told.rate == RateLimit(200, 149, 21600)


def test_two_endpoints_count_apart_for_the_same_address() -> None:
    house = House()
    first, second = house.purse(endpoint="hub"), house.purse(endpoint="accelerator")
    first.told(rate(50), ADDRESS)
    second.told(rate(40), ADDRESS)
    assert first.budget is not second.budget
    assert house.told.rate == RateLimit(200, 90, 21600)


def test_a_source_of_any_length_is_compared_in_vain_or_not() -> None:
    house = House()
    first, second = house.purse("1"), house.purse("2")
    for _ in range(2):
        first.told(rate(50), "x" * 10_000)
        second.told(rate(50), "y" * 10_000)
    assert first.budget is not second.budget


def test_a_refusal_says_whose_limit_it_is_and_when_to_try_again() -> None:
    house = House()
    purse = house.purse()
    purse.told(rate(0), ADDRESS)
    house.clock.now += 13.5
    refusal = purse.refusal(Cost.PULL)
    assert isinstance(refusal, LimitReached)
    assert str(refusal) == (
        "docker.io gives the mirror's account 100 pulls in 6 h, and none is left; it is asked again in 47 s"
    )
    assert refusal.retry_after == 47
    purse.throttled(Cost.PULL, 600)
    assert purse.refusal(Cost.PULL).retry_after == 600
    assert "none is left" in str(purse.refusal(Cost.PULL))
    purse.throttled(Cost.NOTHING, 30)
    assert "limits the requests of the mirror's account; it is asked again in 30 s" in str(purse.refusal(Cost.NOTHING))


@pytest.mark.parametrize(("window", "said"), [(3600, "1 h"), (90, "90 s"), (300, "5 min"), (None, None)])
def test_a_window_is_said_as_people_say_it(window: int | None, said: str | None) -> None:
    house = House()
    house.purse().told(RateLimit(100, 0, window), None)
    within = f" in {said}" if said else ""
    assert f"gives the mirror's account 100 pulls{within}, and none is left" in str(house.purse().refusal(Cost.PULL))


def test_a_refusal_without_a_number() -> None:
    house = House()
    house.purse().throttled(Cost.NOTHING, 30)
    refusal = house.purse().refusal(Cost.PULL)
    assert str(refusal) == "docker.io limits the requests of the mirror's account; it is asked again in 30 s"
    house.clock.now += 30
    assert house.purse().refusal(Cost.PULL).retry_after == 1


def test_nobody_is_told_for_whom_a_registry_counts() -> None:
    house = House()
    purse = house.purse()
    purse.told(rate(0), ADDRESS)
    house.budgets.tell()
    assert ADDRESS not in f"{purse.refusal(Cost.PULL)}{house.observer.events}"


def test_a_pull_is_counted_while_it_is_on_its_way() -> None:
    house = House()
    purse = house.purse()
    purse.told(rate(11), None)
    house.clock.now += 1
    with purse.pulling():
        assert house.spending() is Spending.SAVING
    # Nothing was heard of it, so it may have been counted.
    assert house.told.rate == rate(10)
    assert house.changes == [Spending.SAVING]


def test_what_is_told_with_a_pull_is_not_less_that_pull_once_more() -> None:
    house = House()
    purse = house.purse()
    purse.told(rate(12), None)
    house.clock.now += 1
    with purse.pulling():
        purse.told(rate(11), None)
    assert (house.changes, house.spending()) == ([], Spending.FREE)
    with purse.pulling():
        purse.told(rate(10), None)
        assert house.changes == []
    assert house.changes == [Spending.SAVING]


def test_a_pull_that_is_given_up_is_not_on_its_way_any_more() -> None:
    house = House()
    purse = house.purse()
    purse.told(rate(50), None)
    pulling = purse.pulling()
    pulling.__enter__()
    assert house.told.rate == rate(49)
    house.clock.now += 1
    assert not pulling.__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
    purse.told(rate(50), None)
    assert house.told.rate == rate(50)


def test_a_look_is_due_after_a_while() -> None:
    house = House()
    purse = house.purse()
    purse.told(rate(0), None)
    assert purse.is_doubtful()
    assert not purse.look()
    house.clock.now += LOOK_SECONDS
    assert purse.look()
    assert not purse.look()


def test_when_the_limit_will_be_used_up() -> None:
    house = House()
    purse = house.purse()
    purse.told(rate(90), None)
    house.clock.now += 600
    purse.told(rate(60), None)
    assert house.told.exhausted_in == pytest.approx(1200)
