"""All metrics, on one page. Labels are closed sets: never a repository, a tag, a digest or an address."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from mirror.proxy.events.observer import Event
from mirror.proxy.events.requests import RequestFinished, RequestsRepeated
from mirror.telemetry.metrics.access import AccessMetrics
from mirror.telemetry.metrics.connections import ConnectionMetrics
from mirror.telemetry.metrics.fills import FillMetrics
from mirror.telemetry.metrics.limits import LimitMetrics
from mirror.telemetry.metrics.readiness import ReadinessMetrics
from mirror.telemetry.metrics.requests import RequestMetrics
from mirror.telemetry.metrics.scrubbing import ScrubMetrics
from mirror.telemetry.metrics.store import StoreMetrics
from mirror.telemetry.metrics.upstreams import UpstreamMetrics
from mirror.telemetry.metrics.warming import WarmingMetrics
from mirror.telemetry.metrics.workers import WorkerMetrics
from mirror.telemetry.observers import Observers


class Metrics:
    """Counts events (see Observer); `registry` is what `/metrics` shows.

    `upstreams` are the names of all upstreams there are, `endpoints` those names with an endpoint each, so that every
    series exists from the start.
    """

    def __init__(
        self, upstreams: Iterable[str], version: str, max_bytes: int, endpoints: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.registry = registry = CollectorRegistry()
        names = list(upstreams)
        self._requests = RequestMetrics(registry, names)
        self._families = Observers(
            ConnectionMetrics(registry),
            UpstreamMetrics(registry, names, endpoints),
            AccessMetrics(registry, names),
            LimitMetrics(registry, names),
            StoreMetrics(registry, max_bytes),
            FillMetrics(registry, names),
            ScrubMetrics(registry),
            WarmingMetrics(registry),
            ReadinessMetrics(registry),
            WorkerMetrics(registry),
        )
        build = Gauge("mirror_build_info", "Always 1; the labels say what runs", ["version"], registry=registry)
        build.labels(version).set(1)

    def notify(self, event: Event) -> None:
        """Count `event`."""
        if isinstance(event, RequestFinished):
            # By far the most, and of no other family.
            self._requests.count(event)
        elif isinstance(event, RequestsRepeated):
            self._requests.count_again(event)
        else:
            self._families.notify(event)
