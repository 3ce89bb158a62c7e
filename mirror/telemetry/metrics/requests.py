"""Metrics of clients' requests: how they ended, how long they took, what was sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
        self._series: dict[tuple[str, Kind, Outcome, str], _Series] = {}
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
                self._count(event)

    def _count(self, event: RequestFinished) -> None:
        labels = (event.upstream, event.kind, event.outcome, event.source)
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._find(*labels)
        series.requests.inc()
        series.seconds.observe(event.seconds)
        series.sent.inc(event.sent)

    def _find(self, upstream: str, kind: Kind, outcome: Outcome, source: str) -> _Series:
        return _Series(
            self._requests.labels(upstream, kind, outcome),
            self._seconds.labels(kind, outcome),
            self._sent.labels(upstream, source),
        )


@dataclass(frozen=True, slots=True)
class _Series:
    """Those that a request with certain labels counts in: to look them up takes longer than to count."""

    requests: Counter
    seconds: Histogram
    sent: Counter
