"""Pages of several processes become one that says what one process would have said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.connections import ConnectionsCounted
from mirror.proxy.events.limits import LimitTold
from mirror.proxy.events.observer import Event
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.events.store import CacheResized, Evicted
from mirror.proxy.events.troubles import ReadinessTold
from mirror.proxy.events.upstreams import EndpointJudged
from mirror.proxy.rate_limit import RateLimit, Spending
from mirror.proxy.readiness import Readiness, Trouble
from mirror.telemetry.metrics.merging import GAUGES, Page, counted, merged, read
from mirror.telemetry.metrics.page import Metrics
from tests.unit.telemetry.happenings import DIGEST, one_of_each

HUB = "https://registry.example"
READY = ReadinessTold(Readiness(True))


def page(*events: Event) -> Page:
    metrics = Metrics(["docker.io"], "1.2.3", 10_000, [("docker.io", HUB)])
    for event in events:
        metrics.notify(event)
    return read(generate_latest(metrics.registry).decode())


def values(of: Page) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in of.values()
        for sample in metric.samples
    }


def value(of: Page, name: str, **labels: str) -> float:
    [found] = [
        sample.value
        for metric in of.values()
        for sample in metric.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def test_one_page_stays_as_it_is() -> None:
    one = page(*one_of_each())
    assert values(merged([one])) == values(one)


def test_every_measured_value_has_a_rule() -> None:
    gauges = {name for name, metric in page().items() if metric.type == "gauge"}
    assert gauges == GAUGES.keys()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=4))
def test_counts_and_histograms_are_sums(counts: list[int]) -> None:
    done = RequestFinished("GET", "/", "c", Kind.BLOB, "docker.io", Outcome.HIT, 200, "cache", 10, 0.5)
    both = merged(page(*[done] * count) for count in counts)
    labels = {"kind": "blob", "outcome": "hit"}
    assert value(both, "mirror_requests_total", upstream="docker.io", **labels) == sum(counts)
    assert value(both, "mirror_request_duration_seconds_count", **labels) == sum(counts)
    assert value(both, "mirror_request_duration_seconds_bucket", le="+Inf", **labels) == sum(counts)
    assert value(both, "mirror_response_bytes_total", upstream="docker.io", source="cache") == 10 * sum(counts)


def test_what_is_counted_stays_when_its_process_is_gone_and_nothing_else() -> None:
    past = counted(page(*one_of_each()))
    assert {metric.type for metric in past.values()} == {"counter", "histogram"}
    both = merged([page(READY), past])
    assert value(both, "mirror_workers") == 1
    assert value(both, "mirror_evictions_total", reason="size") == 1


@pytest.mark.parametrize(
    ("one", "other", "name", "labels", "together"),
    [
        (ConnectionsCounted(3, 100), ConnectionsCounted(4, 100), "mirror_connections", {}, 7),
        (ConnectionsCounted(3, 100), ConnectionsCounted(4, 100), "mirror_connections_max", {}, 200),
        (CacheResized(50, 1, 2), CacheResized(40, 1, 1), "mirror_cache_bytes", {}, 50),
        (CacheResized(50, 1, 2), CacheResized(40, 1, 1), "mirror_cache_objects", {"kind": "blob"}, 2),
        (Evicted(DIGEST, 1, unused=60.0), READY, "mirror_evicted_age_seconds", {}, 60),
        (READY, Evicted(DIGEST, 1, unused=60.0), "mirror_evicted_age_seconds", {}, 60),
        (READY, READY, "mirror_ready", {}, 1),
        (READY, ReadinessTold(Readiness(False)), "mirror_ready", {}, 0),
        (READY, ReadinessTold(Readiness(True, (Trouble.DISK_SHORT,))), "mirror_degraded", {"trouble": "disk_short"}, 1),
        (
            EndpointJudged("docker.io", HUB, False, "x"),
            READY,
            "mirror_upstream_healthy",
            {"upstream": "docker.io", "endpoint": HUB},
            0,
        ),
        (READY, READY, "mirror_build_info", {"version": "1.2.3"}, 1),
        (READY, READY, "mirror_workers", {}, 2),
    ],
)
def test_measured_values_are_taken_as_they_are_meant(
    one: Event, other: Event, name: str, labels: dict[str, str], together: float
) -> None:
    assert value(merged([page(one), page(other)]), name, **labels) == together


@pytest.mark.parametrize("order", [list, lambda pages: pages[::-1]], ids=["as they are", "the other way round"])
def test_of_a_limit_the_worst_that_anybody_knows_counts(order: Callable[[list[Page]], list[Page]]) -> None:
    pages = [
        page(),
        page(LimitTold("docker.io", Spending.FREE, RateLimit(100, 60, 21600), 900.0)),
        page(LimitTold("docker.io", Spending.SAVING, RateLimit(100, 9, 21600), 300.0)),
    ]
    both = merged(order(pages))
    assert value(both, "mirror_ratelimit_limit", upstream="docker.io") == 100
    assert value(both, "mirror_ratelimit_remaining", upstream="docker.io") == 9
    assert value(both, "mirror_ratelimit_exhausted_in_seconds", upstream="docker.io") == 300
    spending = {
        spending: value(both, "mirror_ratelimit_spending", upstream="docker.io", spending=spending)
        for spending in Spending
    }
    assert spending == {Spending.FREE: 0, Spending.SAVING: 1, Spending.EXHAUSTED: 0}


def test_of_a_limit_that_nobody_knows_nothing_is_left() -> None:
    assert value(merged([page(), page()]), "mirror_ratelimit_remaining", upstream="docker.io") == 0


def test_what_is_no_page_is_refused() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        read("mirror_ready{ 1\n")
