"""By how many connections a blob is fetched, judged from how it goes. Pure; times are in seconds of a monotonic clock.

One connection is enough where the mirror itself is what is slow, or where it brings as much as anybody needs. Others
are added where most of the time is spent waiting for it, and given back where they bring nothing. What was seen of one
holds for the upstream's other blobs; that the mirror has enough to do is true of the moment only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

STEPS = (1, 4, 8)
"""How many connections are tried, one after the other, while more of them bring more."""

FIRST_LOOK = 1024 * 1024
"""Bytes behind the first ones after which it is seen what one connection brings."""

FIRST_SECONDS = 0.015
"""Seconds after which that is seen as well where no more than SOON is left: much of it would have come meanwhile."""

SOON = 16 * 1024 * 1024
"""Bytes of which several connections are done before it could be seen what they bring."""

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
        self.rate: float | None = None
        """Bytes a second that one connection brings, as far as it was seen; infinite where others bring no more."""
        self._since: Seen | None = None
        self._quiet_until = 0.0
        self._before = (STEPS[0], 0.0)

    def look(self, seen: Seen, known: float | None = None) -> None:
        """Judge by what is seen now, and by the rate of one connection where that is `known` from others."""
        if self.is_settled or seen.now < self._quiet_until:
            return
        if self.value == STEPS[0] and known is not None:
            self._judge_one(known, seen, is_held_up=True)
        elif self._since is None:
            # What came first has waited somewhere on the way: it tells of no speed.
            self._since = seen if seen.received else None
        else:
            self._look(self._since, seen)

    def settle(self, value: int) -> None:
        """Have so many from now on."""
        self.value = value
        self.is_settled = True

    def _look(self, since: Seen, seen: Seen) -> None:
        seconds, size = seen.now - since.now, seen.received - since.received
        is_little = size < FIRST_LOOK
        if seconds <= 0 or (is_little and (seconds < FIRST_SECONDS or seen.left > SOON)):
            return
        rate = size / seconds
        is_held_up = seen.waited - since.waited >= WAITING * seconds and seen.busy - since.busy < BUSY * seconds
        if self.value > STEPS[0]:
            if not is_little and seconds >= LOOK_SECONDS and seen.left >= rate * WORTH:
                self._judge_several(rate, seen, is_held_up=is_held_up)
        elif is_held_up or not is_little:
            self.rate = rate if is_held_up or rate >= FAST else None
            self._judge_one(rate, seen, is_held_up=is_held_up)

    def _judge_one(self, rate: float, seen: Seen, *, is_held_up: bool) -> None:
        if not is_held_up or rate >= FAST or seen.left < rate * WORTH:
            self.settle(STEPS[0])
        else:
            self._add(rate, seen.now)

    def _judge_several(self, rate: float, seen: Seen, *, is_held_up: bool) -> None:
        before, rate_before = self._before
        if rate < PAYS * rate_before:
            self.rate = math.inf if before == STEPS[0] else self.rate
            self.settle(before)
        elif not is_held_up or self.value == STEPS[-1]:
            self.settle(self.value)
        else:
            self._add(rate, seen.now)

    def _add(self, rate: float, now: float) -> None:
        self._before = (self.value, rate)
        self.value = STEPS[STEPS.index(self.value) + 1]
        self._since, self._quiet_until = None, now + GRACE_SECONDS
