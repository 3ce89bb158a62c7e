"""Metrics of readiness: whether hits can be served, and what is not as it should be."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from mirror.proxy.events.observer import Event
from mirror.proxy.events.troubles import ReadinessTold
from mirror.proxy.readiness import Readiness, Trouble


class ReadinessMetrics:
    """Shows what was last told of readiness (see Observer); not ready before that."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ready = Gauge("mirror_ready", "1 while hits can be served, else 0", registry=registry)
        self._degraded = Gauge(
            "mirror_degraded", "1 while this is not as it should be, else 0", ["trouble"], registry=registry
        )
        self._told(Readiness(ready=False))

    def notify(self, event: Event) -> None:
        """Show what `event` tells, if it is of this family."""
        match event:
            case ReadinessTold(readiness):
                self._told(readiness)

    def _told(self, readiness: Readiness) -> None:
        self._ready.set(readiness.ready)
        for trouble in Trouble:
            self._degraded.labels(trouble).set(trouble in readiness.troubles)
