"""Metrics of scrubbing: what was verified, and what was done about bad files."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from mirror.proxy.events.observer import Event
from mirror.proxy.events.scrubbing import FileScrubbed, ScrubFinished

_RESULTS = ("ok", "refetched", "removed", "left")


class ScrubMetrics:
    """Counts the events of scrubbing (see Observer)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._files = Counter(
            "mirror_scrubbed_files_total",
            "Stored files that were verified: ok, or what was done about a bad one",
            ["result"],
            registry=registry,
        )
        self._bytes = Counter(
            "mirror_scrubbed_bytes_total", "Bytes of stored files that were verified", registry=registry
        )
        self._finished = Gauge(
            "mirror_scrub_finished_timestamp_seconds",
            "When all stored files had last been verified; 0 if not yet",
            registry=registry,
        )
        for result in _RESULTS:
            self._files.labels(result)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case FileScrubbed(_, size, _, action):
                self._files.labels(action or "ok").inc()
                self._bytes.inc(size)
            case ScrubFinished(at):
                self._finished.set(at)
