"""Pulls that upstreams count, and what is left of them."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.proxy.rate_limit import RateLimit, Spending


@dataclass(frozen=True, slots=True)
class PullSpent:
    """An upstream gave a manifest, which is what those count that limit pulls."""

    upstream: str


@dataclass(frozen=True, slots=True)
class SpendingChanged:
    """From now on this may be spent on an upstream; `rate` is what its accounts have left, None for untold."""

    upstream: str
    spending: Spending
    rate: RateLimit | None


@dataclass(frozen=True, slots=True)
class LimitTold:
    """Somebody wants to know what is left of the limit of an upstream, None where it tells of none.

    `exhausted_in` is the seconds until nothing is, if pulls go on as they did; infinity where no end is in sight.
    """

    upstream: str
    spending: Spending
    rate: RateLimit | None
    exhausted_in: float
