"""How long a fill puts up with its upstream: a budget of resumes that progress refills, and a least pace."""

from __future__ import annotations

from mirror.errors import UpstreamTimeout

RESUMES = 5
"""How often a fill goes back to its upstream before it has brought enough to earn another time."""

EARNED_BY = 8 * 1024 * 1024
"""Bytes that earn one more resume."""

FIRST_PAUSE = 0.1
"""Seconds before the first resume; each that brings nothing doubles it."""

GIVE_UP_AFTER = 60.0
"""Seconds without a new byte after which a fill ends: its readers have been waiting as long."""

LEAST_PACE = 1024
"""Bytes a second; an upstream that sends less counts as cut."""

PACE_SECONDS = 60.0
"""How long an upstream may be slower than that."""


class RetryBudget:
    """The resumes of one fill; times are in seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._left = RESUMES
        self._pause = FIRST_PAUSE
        self._earned = 0
        self._progressed_at = now

    def progressed(self, size: int, now: float) -> None:
        """`size` new bytes came."""
        self._progressed_at = now
        self._pause = FIRST_PAUSE
        self._earned += size
        if self._earned >= EARNED_BY:
            self._left = min(RESUMES, self._left + self._earned // EARNED_BY)
            self._earned %= EARNED_BY

    def spend(self, now: float, at_least: float = 0.0) -> float | None:
        """Return how many seconds to wait before the next resume, `at_least` so many; None if it is time to give up."""
        if self._left == 0 or now + at_least - self._progressed_at >= GIVE_UP_AFTER:
            return None
        self._left -= 1
        pause, self._pause = self._pause, self._pause * 2
        return max(pause, at_least)


class Pace:
    """Sees that an upstream keeps up the least pace; only the time spent waiting for it counts."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._received = 0

    def received(self, size: int, waited: float) -> None:
        """`size` bytes came after `waited` seconds; raises UpstreamTimeout for an upstream that is too slow."""
        self._waited += waited
        self._received += size
        if self._waited >= PACE_SECONDS:
            if self._received < LEAST_PACE * self._waited:
                raise UpstreamTimeout(f"upstream sent less than {LEAST_PACE} bytes a second")
            self._waited, self._received = 0.0, 0
