"""The metrics of several processes as those of one.

What is counted is added up, and what is measured is taken as its meaning wants it: a sum of what each process has of
its own, the worst of what each found out for itself, one value of what they share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

Page = Mapping[str, Metric]
"""Metrics by their names."""

_COUNTED = {"counter", "histogram"}
_LIMIT = "mirror_ratelimit_limit"
_REMAINING = "mirror_ratelimit_remaining"
_SPENDING = "mirror_ratelimit_spending"
_SPENDINGS = ("free", "saving", "exhausted")
# From the best to the worst.

Key = tuple[str, tuple[tuple[str, str], ...]]


def _least_known(values: Sequence[float]) -> float:
    """Return the least, of those that are something at all."""
    return min((value for value in values if value), default=0.0)


def _first(values: Sequence[float]) -> float:
    return values[0]


GAUGES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mirror_build_info": max,
    "mirror_workers": sum,
    "mirror_connections": sum,
    "mirror_connections_max": sum,
    "mirror_fills_in_flight": sum,
    "mirror_cache_bytes": _first,
    "mirror_cache_max_bytes": _first,
    "mirror_cache_objects": _first,
    "mirror_evicted_age_seconds": _least_known,
    "mirror_ready": min,
    "mirror_degraded": max,
    "mirror_upstream_healthy": min,
    "mirror_ratelimit_limit": max,
    "mirror_ratelimit_remaining": min,
    "mirror_ratelimit_exhausted_in_seconds": min,
    _SPENDING: max,
    "mirror_scrub_finished_timestamp_seconds": max,
    "mirror_warming_round_finished_timestamp_seconds": max,
    "mirror_warming_round_failed_images": max,
}
"""What becomes of a measured value, by the name of the metric."""


def read(text: str) -> Page:
    """Return the metrics of a page in Prometheus' text format; raises ValueError."""
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def counted(page: Page) -> Page:
    """Return what of a page stays true when its process is gone."""
    return {name: metric for name, metric in page.items() if metric.type in _COUNTED}


def merged(pages: Iterable[Page]) -> Page:
    """Return one page of all, the first of which is whose word counts where one has to do."""
    given = [dict(page) for page in pages]
    for page in given:
        _leave_out_unknown_limits(page)
    found: dict[str, Metric] = {}
    values: dict[str, dict[Key, list[float]]] = {}
    for page in given:
        for name, metric in page.items():
            found.setdefault(name, metric)
            series = values.setdefault(name, {})
            for sample in metric.samples:
                series.setdefault((sample.name, tuple(sample.labels.items())), []).append(sample.value)
    page = {name: _metric(metric, values[name]) for name, metric in found.items()}
    _be_of_one_mind(page)
    return page


def _metric(first: Metric, series: Mapping[Key, Sequence[float]]) -> Metric:
    rule = sum if first.type in _COUNTED else GAUGES.get(first.name, sum)
    metric = Metric(first.name, first.documentation, first.type)
    metric.samples = [Sample(name, dict(labels), rule(values)) for (name, labels), values in series.items()]
    return metric


def _leave_out_unknown_limits(page: dict[str, Metric]) -> None:
    """What is left of a limit is 0 in a process that knows of none, which is no news beside one that does."""
    remaining = page.get(_REMAINING)
    if remaining is None:
        return
    known = {sample.labels["upstream"] for sample in page[_LIMIT].samples if sample.value} if _LIMIT in page else set()
    kept = Metric(remaining.name, remaining.documentation, remaining.type)
    kept.samples = [
        sample if sample.labels["upstream"] in known else sample._replace(value=math.inf)
        for sample in remaining.samples
    ]
    page[_REMAINING] = kept


def _be_of_one_mind(page: Page) -> None:
    """Bring back what is 0 where nobody knows, and of what may be spent only the worst."""
    if _REMAINING in page:
        page[_REMAINING].samples = [
            sample._replace(value=0.0) if sample.value == math.inf else sample for sample in page[_REMAINING].samples
        ]
    if _SPENDING not in page:
        return
    samples = page[_SPENDING].samples
    worst = {
        upstream: max(_SPENDINGS.index(one.labels["spending"]) for one in samples if _says(one, upstream))
        for upstream in {one.labels["upstream"] for one in samples if one.value}
    }
    page[_SPENDING].samples = [
        one._replace(value=float(_SPENDINGS.index(one.labels["spending"]) == worst.get(one.labels["upstream"])))
        for one in samples
    ]


def _says(sample: Sample, upstream: str) -> bool:
    return sample.labels["upstream"] == upstream and bool(sample.value)
