"""Not the same line again and again: what comes in floods is told now and then, with how often it came."""

from __future__ import annotations

import time

EVERY_SECONDS = 10.0
"""How often one thing is told."""


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
