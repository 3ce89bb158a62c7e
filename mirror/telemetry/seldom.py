"""Not the same line again and again: what comes in floods is told now and then, with how often it came."""

from __future__ import annotations

import math
import time

EVERY_SECONDS = 10.0
"""How often one thing is told."""

AGAIN_SECONDS = 600.0
"""How long one of many things is not told again."""

MOST_A_MINUTE = 20
"""How many things are told in a minute."""


class Seldom:
    """Lets one of many through every `EVERY_SECONDS`, the first at once, and counts the others."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def times(self, what: str) -> int:
        """Return how often `what` came since it was told last, this time included; 0 if it is not to be told now."""
        now, times = time.monotonic(), self._untold.get(what, 0) + 1
        if what in self._told and now - self._told[what] < EVERY_SECONDS:
            self._untold[what] = times
            return 0
        self._told[what], self._untold[what] = now, 0
        return times


class Few:
    """Lets each of many things through once in `AGAIN_SECONDS`, and few of them a minute; counts the others."""

    def __init__(self) -> None:
        # In their order, which is that of time.
        self._told: dict[str, float] = {}
        self._minute = -math.inf
        self._lines = 0
        self._untold = 0

    def others(self, what: str) -> int | None:
        """Return how many were not told since the last one, if `what` is to be told now; None if it is not."""
        now = time.monotonic()
        while self._told and now - next(iter(self._told.values())) >= AGAIN_SECONDS:
            del self._told[next(iter(self._told))]
        if what in self._told:
            return None
        if now - self._minute >= 60:
            self._minute, self._lines = now, 0
        if self._lines >= MOST_A_MINUTE:
            self._untold += 1
            return None
        self._lines += 1
        self._told[what] = now
        others, self._untold = self._untold, 0
        return others
