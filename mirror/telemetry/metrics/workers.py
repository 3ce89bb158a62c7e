"""Metrics of workers: how many processes serve together, and how often one had to be replaced."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from mirror.proxy.events.observer import Event
from mirror.proxy.events.workers import WorkerLost, WorkerReplaced

_REASONS = ("lost", "hung", "reload")


class WorkerMetrics:
    """Counts the events of workers (see Observer); each process that shows these metrics is one of them."""

    def __init__(self, registry: CollectorRegistry, serving: int = 1) -> None:
        workers = Gauge("mirror_workers", "Processes that serve", registry=registry)
        workers.set(serving)
        self._replaced = Counter(
            "mirror_worker_restarts_total",
            "Workers that another took the place of: lost (it crashed or was killed), hung (it answered nothing and was"
            " ended), or for a reload",
            ["reason"],
            registry=registry,
        )
        for reason in _REASONS:
            self._replaced.labels(reason)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case WorkerLost(was_hanging=was_hanging):
                self._replaced.labels("hung" if was_hanging else "lost").inc()
            case WorkerReplaced():
                self._replaced.labels("reload").inc()
