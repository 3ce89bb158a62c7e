"""The wall clock of a test, which goes on by itself and can be set."""

from __future__ import annotations

import time


class WallClock:
    """The time, off by so many seconds."""

    def __init__(self) -> None:
        self.off = 0.0
        # As it is now: a test may replace it by this very clock.
        self._now = time.time

    def __call__(self) -> float:
        return self._now() + self.off
