"""Metrics of clients' requests: how they ended, how long they took, what was sent.

There are more of them than of all other events together: each is counted in plain numbers, which become metrics when a
page is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.requests import RequestFinished, RequestsRepeated
from mirror.telemetry.metrics.buckets import SECONDS

_KINDS = (Kind.MANIFEST, Kind.BLOB, Kind.TAGS, Kind.REFERRERS)
_SOURCES = ("cache", "upstream")
_BOUNDS = (*map(floatToGoString, SECONDS), "+Inf")


class RequestMetrics(Collector):
    """Counts requests, and shows what it has counted."""

    def __init__(self, registry: CollectorRegistry, upstreams: Iterable[str]) -> None:
        self._tallies = {
            (upstream, kind, outcome, source): _Tally()
            for upstream in upstreams
            for kind in _KINDS
            for outcome in Outcome
            for source in _SOURCES
        }
        registry.register(self)

    def count(self, event: RequestFinished) -> None:
        """Count a request that was answered."""
        self._tally(event).count(event.seconds, event.sent)

    def count_again(self, event: RequestsRepeated) -> None:
        """Count requests that were answered as others before."""
        last, tally = None, _Tally()
        for note, _, _, microseconds in event.given:
            if note is not last:
                last, tally = note, self._tally(note)
            tally.count(microseconds / 1_000_000, note.sent)

    def _tally(self, event: RequestFinished) -> _Tally:
        labels = (event.upstream, event.kind, event.outcome, event.source)
        tally = self._tallies.get(labels)
        if tally is None:
            tally = self._tallies[labels] = _Tally()
        return tally

    def describe(self) -> tuple[CounterMetricFamily, HistogramMetricFamily, CounterMetricFamily]:
        """Return what there is to collect, without its values."""
        return (
            CounterMetricFamily(
                "mirror_requests",
                "Requests of clients, by how they ended",
                labels=("upstream", "kind", "outcome"),
            ),
            HistogramMetricFamily(
                "mirror_request_duration_seconds",
                "From a client's request to the end of its answer",
                labels=("kind", "outcome"),
            ),
            CounterMetricFamily(
                "mirror_response_bytes",
                "Body bytes sent to clients: from the cache, or while they came from upstream",
                labels=("upstream", "source"),
            ),
        )

    def collect(self) -> Sequence[Metric]:
        """Return all that was counted until now."""
        requests, seconds, sent = self.describe()
        times: defaultdict[Sequence[str], int] = defaultdict(int)
        size: defaultdict[Sequence[str], int] = defaultdict(int)
        took: defaultdict[Sequence[str], _Tally] = defaultdict(_Tally)
        for (upstream, kind, outcome, source), tally in self._tallies.items():
            times[upstream, kind, outcome] += sum(tally.buckets)
            size[upstream, source] += tally.sent
            took[kind, outcome].add(tally)
        _fill(requests, times)
        _fill(sent, size)
        for labels, tally in took.items():
            buckets = list(zip(_BOUNDS, accumulate(tally.buckets), strict=True))
            seconds.add_metric(labels, buckets, tally.seconds)
        return requests, seconds, sent


class _Tally:
    """What was counted of requests with the same labels: how many in each bucket, for how long, how many bytes."""

    __slots__ = ("buckets", "seconds", "sent")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUNDS)
        self.seconds = 0.0
        self.sent = 0

    def count(self, seconds: float, sent: int) -> None:
        """Count one."""
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds
        self.sent += sent

    def add(self, other: _Tally) -> None:
        """Count what the other has counted, too."""
        self.buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds


def _fill(counter: CounterMetricFamily, values: Mapping[Sequence[str], float]) -> None:
    for labels, value in values.items():
        counter.add_metric(labels, value)
