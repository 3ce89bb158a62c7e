"""Metrics of access: what token services gave, and what anybody was found to be allowed to read."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

from mirror.proxy.events.access import TokenRequested, VisibilityAsked
from mirror.proxy.events.observer import Event

TOKEN_OUTCOMES = ("granted", "refused", "failed")
VISIBILITY_OUTCOMES = ("public", "private", "missing", "untold")


class AccessMetrics:
    """Counts the events of access (see Observer)."""

    def __init__(self, registry: CollectorRegistry, upstreams: Iterable[str]) -> None:
        self._tokens = Counter(
            "mirror_token_requests_total",
            "Requests to token services: granted, refused or failed",
            ["upstream", "outcome"],
            registry=registry,
        )
        self._visibility = Counter(
            "mirror_visibility_checks_total",
            "Questions whether anybody may read a repository, where private content is served to nobody",
            ["upstream", "outcome"],
            registry=registry,
        )
        for upstream in upstreams:
            for outcome in TOKEN_OUTCOMES:
                self._tokens.labels(upstream, outcome)
            for outcome in VISIBILITY_OUTCOMES:
                self._visibility.labels(upstream, outcome)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case TokenRequested(upstream, outcome):
                self._tokens.labels(upstream, outcome).inc()
            case VisibilityAsked(upstream, outcome):
                self._visibility.labels(upstream, outcome).inc()
