"""Metrics of warming: images fetched and tags revalidated before a client asked."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from mirror.proxy.events.observer import Event
from mirror.proxy.events.warming import HotTagRefreshed, ImageWarmed, WarmingRoundFinished
from mirror.proxy.warming.warmth import Warmth

HOT_OUTCOMES = ("unchanged", "moved", "failed")


class WarmingMetrics:
    """Counts the events of warming (see Observer)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._warmed = Counter(
            "mirror_warmed_total",
            "Images that were to be had in the cache: warmed, present already, spared because of a rate limit, failed",
            ["outcome"],
            registry=registry,
        )
        self._hot_refreshed = Counter(
            "mirror_hot_tags_refreshed_total",
            "Times a tag that clients keep asking for was revalidated before they had to wait for it",
            ["outcome"],
            registry=registry,
        )
        self._round_finished = Gauge(
            "mirror_warming_round_finished_timestamp_seconds",
            "When what is listed and pinned had last been looked after; 0 if not yet",
            registry=registry,
        )
        self._round_failed = Gauge(
            "mirror_warming_round_failed_images",
            "Listed and pinned images that failed in the last round",
            registry=registry,
        )
        for outcome in Warmth:
            self._warmed.labels(outcome)
        for found in HOT_OUTCOMES:
            self._hot_refreshed.labels(found)

    def notify(self, event: Event) -> None:
        """Count `event`, if it is of this family."""
        match event:
            case ImageWarmed(_, outcome):
                self._warmed.labels(outcome).inc()
            case WarmingRoundFinished(at, images):
                self._round_finished.set(at)
                self._round_failed.set(images.get(Warmth.FAILED, 0))
            case HotTagRefreshed(outcome):
                self._hot_refreshed.labels(outcome).inc()
