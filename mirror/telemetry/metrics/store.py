"""Metrics of the store: what it holds, what it may hold, and what was evicted."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from mirror.proxy.cache_status import Kind
from mirror.proxy.events.observer import Event
from mirror.proxy.events.store import CacheResized, Evicted

_REASONS = ("size", "disk", "age")


class StoreMetrics:
    """Counts the events of the store (see Observer)."""

    def __init__(self, registry: CollectorRegistry, max_bytes: int) -> None:
        self._bytes = Gauge("mirror_cache_bytes", "Bytes of committed files", registry=registry)
        limit = Gauge("mirror_cache_max_bytes", "The limit of mirror_cache_bytes", registry=registry)
        self._objects = Gauge("mirror_cache_objects", "Committed files", ["kind"], registry=registry)
        self._evictions = Counter(
            "mirror_evictions_total", "Files removed from the cache, by reason", ["reason"], registry=registry
        )
        self._evicted_age = Gauge(
            "mirror_evicted_age_seconds",
            "How long the file that was last evicted to make room had not been used; 0 if none was yet. Less than the"
            " time between two uses of an image: the cache is too small",
            registry=registry,
        )
        limit.set(max_bytes)
        for kind in (Kind.MANIFEST, Kind.BLOB):
            self._objects.labels(kind)
        for reason in _REASONS:
            self._evictions.labels(reason)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case CacheResized(size, manifests, blobs):
                self._bytes.set(size)
                self._objects.labels(Kind.MANIFEST).set(manifests)
                self._objects.labels(Kind.BLOB).set(blobs)
            case Evicted(reason=reason, unused=unused):
                self._evictions.labels(reason).inc()
                if reason != "age":
                    self._evicted_age.set(unused)
