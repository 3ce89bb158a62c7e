"""The accounts of one upstream: a purse each, in the hands of who asks in its name, and what they have together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from mirror.errors import LimitReached
from mirror.proxy.events.limits import LimitTold, SpendingChanged
from mirror.proxy.events.observer import Observer
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.limits.budget import Budget
from mirror.proxy.limits.forecast import Forecast
from mirror.proxy.limits.hold import Cost
from mirror.proxy.rate_limit import RateLimit, Reserve, Spending

_LONGEST_SOURCE = 200


class Purses:
    """What all accounts of an upstream have left; the purse of each is made when it is first asked for."""

    def __init__(self, upstream: str, reserve: Reserve, clock: Clock, observer: Observer) -> None:
        self.upstream = upstream
        self.clock = clock
        self.reserve = reserve
        self._observer = observer
        self._purses: dict[tuple[str, str], Purse] = {}
        self._forecast = Forecast()
        self._spending = Spending.FREE

    def purse(self, endpoint: str, account: str, owner: str, *, pays: bool) -> Purse:
        """Return the purse of an account of `owner` there; it `pays` for pulls once it was asked for to do so."""
        purse = self._purses.setdefault((endpoint, account), Purse(self, endpoint, owner))
        purse.pays |= pays
        return purse

    def spending(self) -> Spending:
        """Return what may be spent now: as much as the account may that has the most."""
        now = self.clock()
        found = {budget.spending(now) for budget in self._budgets()}
        return next((spending for spending in Spending if spending in found), Spending.FREE)

    def tell(self) -> None:
        """Report what is left, and for how long it will do."""
        self._judge()
        exhausted_in = self._forecast.seconds(self.clock())
        self._observer.notify(LimitTold(self.upstream, self._spending, self._rate(), exhausted_in))

    def review(self) -> None:
        """Report if something else may be spent than before; while pulls are on their way that would only flutter."""
        if not any(budget.is_under_way for budget in self._budgets()):
            self._judge()

    def _judge(self) -> None:
        rate, spending = self._rate(), self.spending()
        if rate is not None:
            self._forecast.told(rate.remaining, self.clock())
        if spending is not self._spending and not self._is_trickle(spending, rate):
            self._spending = spending
            self._observer.notify(SpendingChanged(self.upstream, spending, rate))

    def _is_trickle(self, spending: Spending, rate: RateLimit | None) -> bool:
        """Tell whether pulls only come back one by one after the end, to be spent at once: that is no news."""
        is_past_end = self._spending is Spending.EXHAUSTED and spending is Spending.SAVING
        return is_past_end and rate is not None and rate.remaining <= self.reserve.of(rate.limit) / 4

    def budget_of(self, purse: Purse, source: str) -> Budget:
        """Return the budget that its registry counts for `source`, which two accounts there may share."""
        there = [other for other in self._purses.values() if other.endpoint == purse.endpoint]
        others = [other for other in there if other is not purse]
        twin = next((other for other in others if other.source == source), None)
        if twin is not None:
            return twin.budget
        is_shared = any(other.budget is purse.budget for other in others)
        return Budget(self.reserve) if is_shared else purse.budget

    def _budgets(self) -> list[Budget]:
        paying = (purse.budget for purse in self._purses.values() if purse.pays)
        return list({id(budget): budget for budget in paying}.values())

    def _rate(self) -> RateLimit | None:
        now = self.clock()
        rates = [rate for budget in self._budgets() if (rate := budget.rate(now))]
        if not rates:
            return None
        return RateLimit(
            sum(rate.limit for rate in rates),
            sum(rate.remaining for rate in rates),
            max((rate.window for rate in rates if rate.window is not None), default=None),
        )


class Purse:
    """What one account may spend at an endpoint; `owner` says whose limit it is, `source` is the registry's own word.

    The source is an address, or the name of an account: it is compared, and never shown.
    """

    def __init__(self, purses: Purses, endpoint: str, owner: str) -> None:
        self.endpoint = endpoint
        self.budget = Budget(purses.reserve)
        self.source: str | None = None
        self.pays = False
        self._purses = purses
        self._owner = owner

    @property
    def rank(self) -> float:
        """What accounts are sorted by: the one that has the most left is the least. No limit is the most."""
        rate = self.budget.rate(self._now())
        return -math.inf if rate is None else -rate.remaining

    def is_held(self, cost: Cost) -> bool:
        """Tell whether nothing that costs so much is to be asked now."""
        return self.budget.held_for(cost, self._now()) > 0

    def is_doubtful(self) -> bool:
        """Tell whether something that costs nothing is to be asked before a pull is tried."""
        return self.budget.is_doubtful(self._now())

    def look(self) -> bool:
        """Tell whether it is time for that; whoever hears that it is has to ask."""
        return self.budget.look(self._now())

    def told(self, rate: RateLimit, source: str | None) -> None:
        """The registry has said what is left, and for whom it counts."""
        named = (source or "")[:_LONGEST_SOURCE]
        if named and named != self.source:
            self.budget, self.source = self._purses.budget_of(self, named), named
        self.budget.told(rate, self._now())
        self._purses.review()

    def answered(self, cost: Cost) -> None:
        """The registry has answered what costs so much, and not by a 429."""
        self.budget.answered(cost)
        self._purses.review()

    def throttled(self, cost: Cost, retry_after: float | None) -> None:
        """The registry has said 429, which holds back what costs so much, or more."""
        self.budget.throttled(cost, retry_after, self._now())
        self._purses.review()

    @contextmanager
    def pulling(self) -> Iterator[None]:
        """Count a pull while it is on its way."""
        budget, begun_at = self.budget, self._now()
        budget.begin()
        try:
            yield
        finally:
            budget.end(begun_at)
            self._purses.review()

    def refusal(self, cost: Cost) -> LimitReached:
        """Return the error that says whose limit it is, what is left of it, and when this may be asked again."""
        now = self._now()
        rate = self.budget.rate(now)
        seconds = max(1, math.ceil(self.budget.wait(cost, now)))
        if rate is not None and rate.remaining == 0 and not self.is_held(Cost.NOTHING):
            within = f" in {_span(rate.window)}" if rate.window else ""
            what = f"{self._purses.upstream} gives {self._owner} {rate.limit} pulls{within}, and none is left"
        else:
            limited = "requests" if self.is_held(Cost.NOTHING) or not self.is_held(Cost.PULL) else "pulls"
            what = f"{self._purses.upstream} limits the {limited} of {self._owner}"
        return LimitReached(f"{what}; it is asked again in {seconds} s", seconds)

    def _now(self) -> float:
        return self._purses.clock()


def _span(seconds: int) -> str:
    """Return a window as people say it, where it is a whole number of something."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
