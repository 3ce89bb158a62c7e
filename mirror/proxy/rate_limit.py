"""How much may be asked of an upstream that counts what is pulled from it. Pure values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

STRETCH = 4
"""So many times longer is upstream's word believed while pulls are saved."""

LONGEST_STRETCHED = timedelta(hours=1)
"""No TTL is stretched beyond this; one that is longer by itself stays as it is."""


class Spending(StrEnum):
    """What may be spent on an upstream now."""

    FREE = "free"
    """Ask as need be: it sets no limit, or there is more left of it than the reserve."""
    SAVING = "saving"
    """The reserve has been reached: what is left is for images that are not cached; nothing else is worth a pull."""
    EXHAUSTED = "exhausted"
    """Nothing is left: no pull is tried before the upstream says that there is."""


class Governor(Protocol):
    """Knows what is left of the limits of all upstreams."""

    def spending(self, upstream: str) -> Spending:
        """Return what may be spent on this upstream now; FREE for one that tells of no limit, or is not known."""


class Unlimited:
    """A governor of upstreams that set no limit."""

    def spending(self, upstream: str) -> Spending:
        """Return that there is enough."""
        return Spending.FREE


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a registry says of its limit: so many pulls of `limit` are left within `window` seconds, None for untold."""

    limit: int
    remaining: int
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is kept for images that are not cached: a share of the limit, between 0 and 1, or a number of pulls."""

    share: float = 0.0
    pulls: int = 0

    def of(self, limit: int) -> int:
        """Return how many pulls that is; never more than the limit."""
        return min(limit, max(self.pulls, math.ceil(limit * self.share)))

    def regained(self, limit: int) -> int:
        """Return above how many pulls nothing is saved any more, once it was: half as much again.

        It is half of what there is above the reserve at most, so that saving ends where the limit allows for it.
        """
        kept = self.of(limit)
        return kept + min(math.ceil(kept / 2), (limit - kept) // 2)


def stretched(ttl: timedelta) -> timedelta:
    """Return for how long upstream's word is believed while pulls are saved: never shorter than otherwise."""
    return ttl if ttl >= LONGEST_STRETCHED else min(ttl * STRETCH, LONGEST_STRETCHED)
