"""All that the workers count: those that are there are asked, those that have gone are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import aiohttp
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from mirror.supervisor.worker import Worker
from mirror.telemetry.metrics.merging import Page, counted, merged, read
from mirror.telemetry.metrics.readiness import ReadinessMetrics

_PAGE = "http://worker/metrics"
_PLAIN = {"Accept": "text/plain", "Accept-Encoding": "identity"}

ANSWER_SECONDS = 8.0
"""How long a worker has to answer; Prometheus waits for 10 s unless it is told otherwise."""


class Tally:
    """What the mirror shows as a whole; `own` is the page of the supervisor itself.

    No count ever goes down: of a worker that does not answer, or died, what it last showed counts.
    """

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own
        self._past: Page = {}
        self._shown: dict[Worker, Page] = {}

    def left(self, worker: Worker, will: bytes) -> None:
        """Keep what a worker has counted that has gone; `will` is its last page, empty if it left none."""
        last = self._shown.pop(worker, {})
        with suppress(ValueError):
            last = read(will.decode()) or last
        self._past = counted(merged([self._past, counted(last)]))

    async def page(self, workers: Iterable[Worker], leaving: Iterable[Worker]) -> CollectorRegistry:
        """Return what all have counted and measured, of those that are leaving only what they count."""
        seated, going = list(workers), list(leaving)
        await asyncio.gather(*(self._ask(worker) for worker in [*seated, *going]))
        pages = [self._shown[worker] for worker in seated if worker in self._shown and worker.is_ready]
        pages += [counted(page) for worker, page in self._shown.items() if worker not in seated or not worker.is_ready]
        if not any(worker.is_ready for worker in seated):
            pages.append(_nobody_is_ready())
        own = read(generate_latest(self._own).decode())
        registry = CollectorRegistry()
        registry.register(_Given(merged([*pages, own, self._past])))
        return registry

    async def _ask(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), worker.session.get(_PAGE, headers=_PLAIN) as response:
                page = read(await response.text())
        except (TimeoutError, aiohttp.ClientError, ValueError, RuntimeError):
            return
        if not worker.is_closed:
            self._shown[worker] = page


def _nobody_is_ready() -> Page:
    registry = CollectorRegistry()
    ReadinessMetrics(registry)
    return read(generate_latest(registry).decode())


class _Given(Collector):
    """Metrics as they are."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._page.values()
