"""By how many connections a blob is fetched, judged from how it goes. Pure; times are in seconds of a monotonic clock.

One connection is enough where the mirror itself is what is slow, or where it brings as much as anybody needs. Others
are added where most of the time is spent waiting for it, and given back where they bring nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

STEPS = (1, 4, 8)
"""How many connections are tried, one after the other, while more of them bring more."""

FIRST_LOOK = 1024 * 1024
"""Bytes after which it is seen what one connection brings."""

LOOK_SECONDS = 0.5
"""How long it is looked at what several bring."""

GRACE_SECONDS = 0.3
"""How long new ones have to get going."""

WAITING = 0.5
"""The share of the time from which on a blob is held up by its upstream."""

BUSY = 0.6
"""The share of the time from which on the mirror has enough to do."""

FAST = 32 * 1024 * 1024
"""Bytes a second of one connection with which there is no need for another."""

WORTH = 0.15
"""Seconds that are still to go, at least, for another connection to be of use."""

PAYS = 1.3
"""How many times as much has to come by several connections as by fewer, for them to stay."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far it is: all bytes that came so far and are left, all seconds spent waiting for them, and at work."""

    now: float
    received: int
    left: int
    waited: float
    busy: float


class Width:
    """How many connections there should be; `is_settled` once that does not change any more."""

    def __init__(self) -> None:
        self.value = STEPS[0]
        self.is_settled = False
        self._since: Seen | None = None
        self._quiet_until = 0.0
        self._before = (STEPS[0], 0.0)

    def look(self, seen: Seen) -> None:
        """Judge by what is seen now."""
        if self.is_settled or seen.now < self._quiet_until:
            return
        since = self._since
        if since is None:
            self._since = seen
            return
        seconds, size = seen.now - since.now, seen.received - since.received
        if seconds <= 0 or size < FIRST_LOOK or (self.value > STEPS[0] and seconds < LOOK_SECONDS):
            return
        rate = size / seconds
        if seen.left < rate * WORTH:
            # Not worth it; what would be, is not known.
            return
        is_held_up = seen.waited - since.waited >= WAITING * seconds and seen.busy - since.busy < BUSY * seconds
        if self.value == STEPS[0]:
            wants_more = is_held_up and rate < FAST
        else:
            wants_more = is_held_up and rate >= PAYS * self._before[1]
        self._go_on(rate, seen.now, wants_more=wants_more)

    def settle(self, value: int) -> None:
        """Have so many from now on."""
        self.value = value
        self.is_settled = True

    def _go_on(self, rate: float, now: float, *, wants_more: bool) -> None:
        if rate < PAYS * self._before[1]:
            self.settle(self._before[0])
        elif not wants_more or self.value == STEPS[-1]:
            self.settle(self.value)
        else:
            self._before = (self.value, rate)
            self.value = STEPS[STEPS.index(self.value) + 1]
            self._since, self._quiet_until = None, now + GRACE_SECONDS
