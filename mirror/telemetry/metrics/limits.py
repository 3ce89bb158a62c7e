"""Metrics of the limits of upstreams: what is granted, left and spent, and for how long it will do."""

from __future__ import annotations

import math
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from mirror.proxy.events.limits import LimitTold, PullSpent
from mirror.proxy.events.observer import Event
from mirror.proxy.rate_limit import Spending


class LimitMetrics:
    """Counts the events of limits (see Observer)."""

    def __init__(self, registry: CollectorRegistry, upstreams: Iterable[str]) -> None:
        self._limit = Gauge(
            "mirror_ratelimit_limit",
            "How many pulls the mirror's accounts are granted together, in the window of the upstream's choice; 0: no"
            " limit is known",
            ["upstream"],
            registry=registry,
        )
        self._remaining = Gauge(
            "mirror_ratelimit_remaining",
            "What is left of mirror_ratelimit_limit",
            ["upstream"],
            registry=registry,
        )
        self._exhausted_in = Gauge(
            "mirror_ratelimit_exhausted_in_seconds",
            "In how many seconds nothing will be left, if pulls go on as in the last half hour; +Inf: no end in sight",
            ["upstream"],
            registry=registry,
        )
        self._spending = Gauge(
            "mirror_ratelimit_spending",
            "1 for what may be spent: free, saving (the reserve has been reached), exhausted; else 0",
            ["upstream", "spending"],
            registry=registry,
        )
        self._pulls = Counter(
            "mirror_pulls_spent_total",
            "Manifests got from upstreams: what is counted by those that limit pulls",
            ["upstream"],
            registry=registry,
        )
        for upstream in upstreams:
            self._pulls.labels(upstream)
            self._told(LimitTold(upstream, Spending.FREE, None, math.inf))

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case PullSpent(upstream):
                self._pulls.labels(upstream).inc()
            case LimitTold():
                self._told(event)

    def _told(self, event: LimitTold) -> None:
        self._limit.labels(event.upstream).set(event.rate.limit if event.rate else 0)
        self._remaining.labels(event.upstream).set(event.rate.remaining if event.rate else 0)
        self._exhausted_in.labels(event.upstream).set(event.exhausted_in)
        for spending in Spending:
            self._spending.labels(event.upstream, spending).set(spending is event.spending)
