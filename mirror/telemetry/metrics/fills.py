"""Metrics of fills: how many are on their way, and how often one was cut."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from mirror.proxy.events.fills import Ahead, FillFinished, FillResumed, FillStarted, InParts, Parts, ReadAhead
from mirror.proxy.events.observer import Event


class FillMetrics:
    """Counts the events of fills (see Observer)."""

    def __init__(self, registry: CollectorRegistry, upstreams: Iterable[str]) -> None:
        self._resumes = Counter(
            "mirror_fill_resumes_total",
            "Times a blob on its way was cut and asked for again from where it was",
            ["upstream"],
            registry=registry,
        )
        self._in_flight = Gauge("mirror_fills_in_flight", "Blobs on their way into the cache", registry=registry)
        self._ahead = Counter(
            "mirror_read_ahead_total",
            "Blobs that could be begun before a client asked for them, by what came of it",
            ["upstream", "outcome"],
            registry=registry,
        )
        self._parts = Counter(
            "mirror_blob_parts_total",
            "Parts of large blobs that were begun beside others, and times an upstream refused them (429, wrong bytes)",
            ["upstream", "outcome"],
            registry=registry,
        )
        for upstream in upstreams:
            for part in Parts:
                self._parts.labels(upstream, part)
            self._resumes.labels(upstream)
            for outcome in Ahead:
                self._ahead.labels(upstream, outcome)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case FillStarted():
                self._in_flight.inc()
            case FillResumed(upstream):
                self._resumes.labels(upstream).inc()
            case InParts(upstream, part):
                self._parts.labels(upstream, part).inc()
            case ReadAhead(upstream, _, outcome):
                self._ahead.labels(upstream, outcome).inc()
            case FillFinished():
                self._in_flight.dec()
