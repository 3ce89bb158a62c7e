"""What is left of one account's limit, as far as its registry has told. Pure; `now` is in epoch seconds throughout.

A registry's word is good for the window that it is about. It refuses the future: after the clock was set back nothing
is known.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mirror.proxy.limits.hold import Cost, Holds
from mirror.proxy.rate_limit import RateLimit, Reserve, Spending

DOUBT_SECONDS = 300.0
"""How long after that nothing is taken to be left, while nobody has asked: a 429 a minute is one limit, not many."""

LOOK_SECONDS = 60.0
"""Least time between two questions that cost no pull, only to see whether something is left again."""

_WINDOW = 3600.0
# How long a registry's word is good for that does not say itself.


class Budget:
    """What one account may spend, of which a reserve is kept."""

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._saves = False
        self._rate: RateLimit | None = None
        self._told_at = -math.inf
        self._under_way = 0
        self._holds = Holds()
        # What has to be answered, at least, before something is taken to be left; None while nothing is in doubt.
        self._doubted: Cost | None = None
        self._looked_at = -math.inf

    # What is heard of it. ---------------------------------------------------------------------------------

    def told(self, rate: RateLimit, now: float) -> None:
        """The registry has said how much is left."""
        # A limit that gives back pulls one by one would else begin and end to save with each of them.
        regains = self._saves and self.rate(now) is not None
        kept = self._reserve.regained(rate.limit) if regains else self._reserve.of(rate.limit)
        self._saves = rate.remaining <= kept
        self._rate, self._told_at, self._looked_at = rate, now, now
        if rate.remaining:
            self._doubted = None

    def answered(self, cost: Cost) -> None:
        """The registry has answered what costs so much, and not by a 429; what it said of its limit still holds."""
        if self._doubted is not None and cost >= self._doubted:
            self._doubted = None

    def throttled(self, cost: Cost, retry_after: float | None, now: float) -> None:
        """The registry has said 429: nothing that costs as much, or more, is asked for so many seconds, bounded.

        Then the free way goes first. That blobs come is no sign that pulls do.
        """
        self._holds.hold(cost, retry_after, now)
        self._doubted = max(self._doubted or Cost.NOTHING, min(cost, Cost.LOOK))
        self._looked_at = -math.inf

    def begin(self) -> None:
        """A pull is on its way: the registry may count it before it says so."""
        self._under_way += 1

    def end(self, begun_at: float) -> None:
        """It is no longer; where the registry has not said since what is left, it may have counted it."""
        self._under_way -= 1
        if self._rate is not None and self._told_at < begun_at:
            self._rate = replace(self._rate, remaining=max(0, self._rate.remaining - 1))

    def look(self, now: float) -> bool:
        """Tell whether it is time to see, in a way that costs nothing, if something is left again; it will be seen."""
        if _within(self._looked_at, LOOK_SECONDS, now):
            return False
        self._looked_at = now
        return True

    @property
    def is_under_way(self) -> bool:
        """Tell whether a pull is on its way: what is left will be known when it has ended."""
        return self._under_way > 0

    # What that means. -------------------------------------------------------------------------------------

    def rate(self, now: float) -> RateLimit | None:
        """Return the limit and what is left of it, less what is under way; None where none is known."""
        if self._rate is None or not _within(self._told_at, self._rate.window or _WINDOW, now):
            return None
        return replace(self._rate, remaining=max(0, self._rate.remaining - self._under_way))

    def held_for(self, cost: Cost, now: float) -> float:
        """Return for how many seconds nothing is asked that costs so much, 0 if it may be."""
        return self._holds.left(cost, now)

    def is_doubtful(self, now: float) -> bool:
        """Tell whether a pull would be tried in vain, as far as is known."""
        rate = self.rate(now)
        return self._doubted is not None or (rate is not None and rate.remaining == 0)

    def wait(self, cost: Cost, now: float) -> float:
        """Return after how many seconds something that costs so much may be tried again."""
        looks_again = cost is Cost.PULL and _within(self._looked_at, LOOK_SECONDS, now)
        return max(self.held_for(cost, now), self._looked_at + LOOK_SECONDS - now if looks_again else 0.0)

    def spending(self, now: float) -> Spending:
        """Return what may be spent; FREE where no limit is known."""
        is_doubted = self._doubted is not None and self._holds.left(Cost.PULL, now, DOUBT_SECONDS) > 0
        if self.held_for(Cost.PULL, now) or is_doubted:
            return Spending.EXHAUSTED
        rate = self.rate(now)
        if rate is None:
            return Spending.FREE
        if rate.remaining == 0:
            return Spending.EXHAUSTED
        return Spending.SAVING if self._saves or rate.remaining <= self._reserve.of(rate.limit) else Spending.FREE


def _within(since: float, seconds: float, now: float) -> bool:
    return 0 <= now - since < seconds
