"""What is left of one account's limit, as far as its registry has told. Pure; `now` is in epoch seconds throughout.

A registry's word is good for the window that it is about, a hold for as long as it was to last. Both refuse the
future: after the clock was set back nothing is known, and nothing is held.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mirror.proxy.rate_limit import RateLimit, Reserve, Spending

HOLD_SECONDS = 60.0
"""How long nothing is asked after a 429 that does not say for how long."""

LONGEST_HOLD = 3600.0
"""How long nothing is asked at most, whatever a 429 says."""

DOUBT_SECONDS = 300.0
"""How long after that nothing is taken to be left, while nobody has asked: a 429 a minute is one limit, not many."""

LOOK_SECONDS = 60.0
"""Least time between two questions that cost no pull, only to see whether something is left again."""

_WINDOW = 3600.0
# How long a registry's word is good for that does not say itself.


class Budget:
    """What one account may spend."""

    def __init__(self) -> None:
        self._rate: RateLimit | None = None
        self._told_at = -math.inf
        self._under_way = 0
        self._held_at = -math.inf
        self._held_for = 0.0
        self._doubted = False
        self._looked_at = -math.inf

    # What is heard of it. ---------------------------------------------------------------------------------

    def told(self, rate: RateLimit, now: float) -> None:
        """The registry has said how much is left."""
        self._rate, self._told_at, self._looked_at = rate, now, now
        self._doubted = self._doubted and rate.remaining == 0

    def answered(self) -> None:
        """The registry has answered, and not by a 429; what it said before of its limit still holds."""
        self._doubted = False

    def throttled(self, retry_after: float | None, now: float) -> None:
        """The registry has said 429: nothing is asked for so many seconds, bounded, and then the free way first."""
        seconds = hold_seconds(retry_after)
        if seconds >= self.held_for(now):
            self._held_at, self._held_for = now, seconds
        self._doubted = True
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

    def held_for(self, now: float) -> float:
        """Return for how many seconds nothing is asked at all, 0 if something may be."""
        return self._held_at + self._held_for - now if _within(self._held_at, self._held_for, now) else 0.0

    def is_doubtful(self, now: float) -> bool:
        """Tell whether a pull would be tried in vain, as far as is known."""
        rate = self.rate(now)
        return self._doubted or (rate is not None and rate.remaining == 0)

    def wait(self, now: float) -> float:
        """Return after how many seconds it may be asked again whether there is something."""
        looked = self._looked_at + LOOK_SECONDS - now if _within(self._looked_at, LOOK_SECONDS, now) else 0.0
        return max(self.held_for(now), looked)

    def spending(self, reserve: Reserve, now: float) -> Spending:
        """Return what may be spent; FREE where no limit is known."""
        is_doubted = self._doubted and _within(self._held_at, self._held_for + DOUBT_SECONDS, now)
        if self.held_for(now) or is_doubted:
            return Spending.EXHAUSTED
        rate = self.rate(now)
        if rate is None:
            return Spending.FREE
        if rate.remaining == 0:
            return Spending.EXHAUSTED
        return Spending.SAVING if rate.remaining <= reserve.of(rate.limit) else Spending.FREE


def hold_seconds(retry_after: float | None) -> float:
    """Return for how long nothing is asked after a 429 that says this, None where it says nothing."""
    return HOLD_SECONDS if retry_after is None else min(max(retry_after, 1.0), LONGEST_HOLD)


def _within(since: float, seconds: float, now: float) -> bool:
    return 0 <= now - since < seconds
