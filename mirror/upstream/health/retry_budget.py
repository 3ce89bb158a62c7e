"""How much of what an upstream is asked may be asked again: a share of all requests, however many fail at once.

An outage makes every request fail. If each of them were tried three times, an upstream in trouble would be asked three
times as much. Pure; times are in seconds of one monotonic clock.
"""

from __future__ import annotations

SHARE = 0.2
"""Retries for each request."""

BURST = 10.0
"""Retries that can be saved up, and that there are to begin with."""

ONE_EVERY = 2.0
"""Seconds that earn one retry whatever is asked, so that a quiet mirror can retry at all."""


class RetryBudget:
    """A bucket of tokens: requests and time fill it, each retry takes one."""

    def __init__(self) -> None:
        self._tokens = BURST
        self._filled_at: float | None = None

    def requested(self) -> None:
        """A request is made that is no retry."""
        self._tokens = min(BURST, self._tokens + SHARE)

    def spend(self, now: float) -> bool:
        """Take what a retry costs; False if there is not that much, and the first failure is the answer."""
        waited = 0.0 if self._filled_at is None else now - self._filled_at
        self._tokens = min(BURST, self._tokens + waited / ONE_EVERY)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
