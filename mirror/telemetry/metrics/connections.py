"""Metrics of clients' connections: how many there are, and how many were refused."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from mirror.proxy.events.connections import ConnectionRefused, ConnectionsCounted
from mirror.proxy.events.observer import Event

_REFUSALS = ("full", "slow_head", "malformed", "tls")


class ConnectionMetrics:
    """Counts the events of connections (see Observer)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge("mirror_connections", "Open connections of clients", registry=registry)
        self._limit = Gauge("mirror_connections_max", "The limit of mirror_connections", registry=registry)
        self._refused = Counter(
            "mirror_connections_refused_total",
            "Connections closed before a request came of them: no room, too slow, or not HTTP",
            ["reason"],
            registry=registry,
        )
        for reason in _REFUSALS:
            self._refused.labels(reason)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case ConnectionsCounted(count, limit):
                self._open.set(count)
                self._limit.set(limit)
            case ConnectionRefused(reason):
                self._refused.labels(reason).inc()
