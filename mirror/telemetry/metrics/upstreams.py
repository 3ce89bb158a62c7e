"""Metrics of upstreams: what they were asked, what came of it, and whether their endpoints answer."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mirror.proxy.cache_status import Kind
from mirror.proxy.events.fills import DigestMismatched
from mirror.proxy.events.observer import Event
from mirror.proxy.events.upstreams import DeletionSeen, EndpointJudged, UpstreamAnswered, UpstreamReceived
from mirror.telemetry.metrics.buckets import SECONDS

_STATUSES = {200, 206, 304, 400, 401, 403, 404, 405, 416, 429, 500, 502, 503, 504}
# Of a series that begins with its first event, a rate shows nothing before the second.
_STATUSES_FROM_ZERO = ("200", "401", "403", "404", "429", "500", "502", "503", "504", "none")


class UpstreamMetrics:
    """Counts the events of upstreams (see Observer); `endpoints` are names of upstreams with an endpoint each."""

    def __init__(
        self, registry: CollectorRegistry, upstreams: Iterable[str], endpoints: Iterable[tuple[str, str]]
    ) -> None:
        self._requests = Counter(
            "mirror_upstream_requests_total",
            "Requests to upstreams, by the status of the answer; none where there was no answer",
            ["upstream", "kind", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "mirror_upstream_request_duration_seconds",
            "From a request to an upstream to the head of its answer",
            ["upstream", "kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self._healthy = Gauge(
            "mirror_upstream_healthy",
            "1 while this endpoint of an upstream answers, 0 while it does not and is not asked",
            ["upstream", "endpoint"],
            registry=registry,
        )
        self._received = Counter(
            "mirror_upstream_bytes_total",
            "Body bytes of manifests, blobs and lists received from upstreams",
            ["upstream"],
            registry=registry,
        )
        self._mismatches = Counter(
            "mirror_digest_mismatches_total",
            "Manifests and blobs that arrived with other bytes than their digest says",
            ["upstream"],
            registry=registry,
        )
        self._deleted = Counter(
            "mirror_deleted_upstream_total",
            "Tags that upstream was found to have deleted and that are served on (keep_deleted), each once a deletion",
            ["upstream"],
            registry=registry,
        )
        for upstream in upstreams:
            self._begin_at_zero(upstream)
        for upstream, endpoint in endpoints:
            self._healthy.labels(upstream, endpoint).set(1)

    def _begin_at_zero(self, upstream: str) -> None:
        for kind in Kind:
            for status in _STATUSES_FROM_ZERO:
                self._requests.labels(upstream, kind, status)
            self._seconds.labels(upstream, kind)
        for counter in (self._received, self._mismatches, self._deleted):
            counter.labels(upstream)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case UpstreamAnswered(upstream, kind, status, seconds):
                self._requests.labels(upstream, kind, _status_label(status)).inc()
                self._seconds.labels(upstream, kind).observe(seconds)
            case EndpointJudged(upstream, endpoint, is_well):
                self._healthy.labels(upstream, endpoint).set(is_well)
            case UpstreamReceived(upstream, size):
                self._received.labels(upstream).inc(size)
            case DigestMismatched(upstream):
                self._mismatches.labels(upstream).inc()
            case DeletionSeen(upstream):
                self._deleted.labels(upstream).inc()


def _status_label(status: int | None) -> str:
    if status is None:
        return "none"
    return str(status) if status in _STATUSES else f"{status // 100}xx"
