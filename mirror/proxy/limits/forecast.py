"""When a limit will be used up, if pulls go on as they did lately. Pure; times are in epoch seconds.

What counts is how far the number has fallen since it was last at its highest: a limit that starts anew, or that
gives back what is old bit by bit, does not look like one that is hardly used.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

SPAN = 1800.0
"""How many seconds are looked back: less would follow every burst, more would be late."""

LEAST = 60.0
"""A fall is taken to have lasted this many seconds at least, so that a burst is no end of the world."""

_SPACING = SPAN / 60
# Of several numbers within so many seconds the last one counts; so there are never many.


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    remaining: int


class Forecast:
    """The numbers of the last half hour."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()

    def told(self, remaining: int, now: float) -> None:
        """So many pulls are left now; what was said at a time that has not come yet is forgotten."""
        if self._samples and self._samples[-1].at > now:
            self._samples.clear()
        if len(self._samples) > 1 and now - self._samples[-2].at < _SPACING:
            self._samples.pop()
        self._samples.append(_Sample(now, remaining))
        self._forget(now)

    def seconds(self, now: float) -> float:
        """Return in how many seconds nothing will be left, infinity where no end is in sight, 0 where nothing is."""
        self._forget(now)
        if not self._samples:
            return math.inf
        last = self._samples[-1]
        if last.remaining <= 0:
            return 0.0
        highest = max(self._samples, key=lambda sample: (sample.remaining, sample.at))
        fallen = highest.remaining - last.remaining
        if fallen <= 0:
            return math.inf
        # Up to now, and not to the last number: where nobody pulls any more, the end moves away.
        pace = fallen / max(LEAST, now - highest.at)
        return last.remaining / pace

    def _forget(self, now: float) -> None:
        """Forget what is older than is looked back, but for the last number, which still holds."""
        while len(self._samples) > 1 and now - self._samples[0].at > SPAN:
            self._samples.popleft()
