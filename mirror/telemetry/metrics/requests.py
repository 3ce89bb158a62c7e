"""Metrics of clients' requests: how they ended, how long they took, what was sent."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.observer import Event
from mirror.proxy.events.requests import RequestFinished
from mirror.telemetry.metrics.buckets import SECONDS

_KINDS = (Kind.MANIFEST, Kind.BLOB, Kind.TAGS, Kind.REFERRERS)


class RequestMetrics:
    """Counts the events of requests (see Observer)."""

    def __init__(self, registry: CollectorRegistry, upstreams: Iterable[str]) -> None:
        self._requests = Counter(
            "mirror_requests_total",
            "Requests of clients, by how they ended",
            ["upstream", "kind", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "mirror_request_duration_seconds",
            "From a client's request to the end of its answer",
            ["kind", "outcome"],
            buckets=SECONDS,
            registry=registry,
        )
        self._sent = Counter(
            "mirror_response_bytes_total",
            "Body bytes sent to clients: from the cache, or while they came from upstream",
            ["upstream", "source"],
            registry=registry,
        )
        for upstream in upstreams:
            self._begin_at_zero(upstream)

    def _begin_at_zero(self, upstream: str) -> None:
        for kind in _KINDS:
            for outcome in Outcome:
                self._requests.labels(upstream, kind, outcome)
                self._seconds.labels(kind, outcome)
        for source in ("cache", "upstream"):
            self._sent.labels(upstream, source)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case RequestFinished():
                self._requests.labels(event.upstream, event.kind, event.outcome).inc()
                self._seconds.labels(event.kind, event.outcome).observe(event.seconds)
                self._sent.labels(event.upstream, event.source).inc(event.sent)
