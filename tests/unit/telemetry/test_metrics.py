from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.access import CredentialsWithheld, TokenRequested, VisibilityAsked
from mirror.proxy.events.connections import ConnectionRefused, ConnectionsCounted
from mirror.proxy.events.fills import Ahead, DigestMismatched, FillFinished, FillResumed, FillStarted, InParts, Parts
from mirror.proxy.events.observer import Event
from mirror.proxy.events.requests import RequestFinished, RequestsRepeated
from mirror.proxy.events.scrubbing import FileScrubbed, ScrubFinished
from mirror.proxy.events.store import CacheResized, Evicted
from mirror.proxy.events.troubles import ReadinessTold, StoreTroubled
from mirror.proxy.events.upstreams import DeletionSeen, EndpointJudged, UpstreamAnswered, UpstreamReceived
from mirror.proxy.rate_limit import Spending
from mirror.proxy.readiness import Readiness, Trouble
from mirror.proxy.warming.warmth import Warmth
from mirror.telemetry.metrics.access import TOKEN_OUTCOMES, VISIBILITY_OUTCOMES
from mirror.telemetry.metrics.buckets import SECONDS
from mirror.telemetry.metrics.page import Metrics
from mirror.telemetry.metrics.warming import HOT_OUTCOMES
from tests.unit.oci.strategies import digests
from tests.unit.telemetry.happenings import DIGEST, one_of_each


class Page:
    """Metrics, and the page they make."""

    def __init__(self) -> None:
        self.metrics = Metrics(["docker.io", "ghcr.io"], "1.2.3", 10_000, [("docker.io", "https://registry.example")])

    def value(self, series: str) -> float:
        for line in self.lines:
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        raise LookupError(series)

    @property
    def lines(self) -> list[str]:
        return [line for line in generate_latest(self.metrics.registry).decode().splitlines() if line[0] != "#"]

    @property
    def series(self) -> set[str]:
        return {line.rpartition(" ")[0] for line in self.lines}


@pytest.mark.parametrize(
    ("event", "series", "value"),
    [
        (
            RequestFinished("GET", "/", "c", Kind.BLOB, "ghcr.io", Outcome.STALE, 200),
            'mirror_requests_total{kind="blob",outcome="stale",upstream="ghcr.io"}',
            1,
        ),
        (
            RequestFinished("GET", "/", "c", Kind.BLOB, "ghcr.io", Outcome.HIT, 200, "cache", 70),
            'mirror_response_bytes_total{source="cache",upstream="ghcr.io"}',
            70,
        ),
        (
            RequestFinished("GET", "/", "c", Kind.BLOB, "ghcr.io", Outcome.HIT, 200, seconds=1.5),
            'mirror_request_duration_seconds_sum{kind="blob",outcome="hit"}',
            1.5,
        ),
        (ReadinessTold(Readiness(ready=True)), "mirror_ready", 1),
        (
            ReadinessTold(Readiness(True, (Trouble.DISK_SHORT,))),
            'mirror_degraded{trouble="disk_short"}',
            1,
        ),
        (ConnectionsCounted(3, 100), "mirror_connections", 3),
        (ConnectionsCounted(3, 100), "mirror_connections_max", 100),
        (ConnectionRefused("full", "10.0.0.1"), 'mirror_connections_refused_total{reason="full"}', 1),
        (
            UpstreamAnswered("ghcr.io", Kind.MANIFEST, 429, 1),
            'mirror_upstream_requests_total{kind="manifest",status="429",upstream="ghcr.io"}',
            1,
        ),
        (
            UpstreamAnswered("ghcr.io", Kind.MANIFEST, None, 1),
            'mirror_upstream_requests_total{kind="manifest",status="none",upstream="ghcr.io"}',
            1,
        ),
        (
            UpstreamAnswered("ghcr.io", Kind.MANIFEST, 418, 1),
            'mirror_upstream_requests_total{kind="manifest",status="4xx",upstream="ghcr.io"}',
            1,
        ),
        (
            UpstreamAnswered("ghcr.io", Kind.BLOB, 200, 2.5),
            'mirror_upstream_request_duration_seconds_sum{kind="blob",upstream="ghcr.io"}',
            2.5,
        ),
        (
            EndpointJudged("ghcr.io", "https://ghcr.io", False, "silence"),
            'mirror_upstream_healthy{endpoint="https://ghcr.io",upstream="ghcr.io"}',
            0,
        ),
        (
            EndpointJudged("ghcr.io", "https://ghcr.io", True, None),
            'mirror_upstream_healthy{endpoint="https://ghcr.io",upstream="ghcr.io"}',
            1,
        ),
        (UpstreamReceived("ghcr.io", 500), 'mirror_upstream_bytes_total{upstream="ghcr.io"}', 500),
        (
            TokenRequested("ghcr.io", "granted"),
            'mirror_token_requests_total{outcome="granted",upstream="ghcr.io"}',
            1,
        ),
        (
            VisibilityAsked("ghcr.io", "private"),
            'mirror_visibility_checks_total{outcome="private",upstream="ghcr.io"}',
            1,
        ),
        (DeletionSeen("ghcr.io", "ghcr.io/a/b:1"), 'mirror_deleted_upstream_total{upstream="ghcr.io"}', 1),
        (DigestMismatched("ghcr.io", DIGEST), 'mirror_digest_mismatches_total{upstream="ghcr.io"}', 1),
        (FillStarted("ghcr.io", DIGEST), "mirror_fills_in_flight", 1),
        (InParts("ghcr.io", Parts.BEGUN), 'mirror_blob_parts_total{outcome="begun",upstream="ghcr.io"}', 1),
        (InParts("ghcr.io", Parts.REFUSED), 'mirror_blob_parts_total{outcome="refused",upstream="ghcr.io"}', 1),
        (Evicted(DIGEST, 5), 'mirror_evictions_total{reason="size"}', 1),
        (Evicted(DIGEST, 5, "disk"), 'mirror_evictions_total{reason="disk"}', 1),
        (Evicted(DIGEST, 5, "age"), 'mirror_evictions_total{reason="age"}', 1),
        (Evicted(DIGEST, 5, "size", 90.5), "mirror_evicted_age_seconds", 90.5),
        (Evicted(DIGEST, 5, "disk", 90.5), "mirror_evicted_age_seconds", 90.5),
        (Evicted(DIGEST, 5, "age", 90.5), "mirror_evicted_age_seconds", 0),
        (
            FillResumed("docker.io", DIGEST, 5, TimeoutError()),
            'mirror_fill_resumes_total{upstream="docker.io"}',
            1,
        ),
        (FileScrubbed(DIGEST, 5, None, None), 'mirror_scrubbed_files_total{result="ok"}', 1),
        (FileScrubbed(DIGEST, 5, None, None), "mirror_scrubbed_bytes_total", 5),
        (FileScrubbed(DIGEST, 5, "damaged", "left"), 'mirror_scrubbed_files_total{result="left"}', 1),
        (ScrubFinished(7.5), "mirror_scrub_finished_timestamp_seconds", 7.5),
        (CacheResized(77, 2, 3), "mirror_cache_bytes", 77),
        (CacheResized(77, 2, 3), 'mirror_cache_objects{kind="manifest"}', 2),
        (CacheResized(77, 2, 3), 'mirror_cache_objects{kind="blob"}', 3),
    ],
)
def test_events_are_counted(event: Event, series: str, value: float) -> None:
    page = Page()
    page.metrics.notify(event)
    assert page.value(series) == value


def test_a_fill_that_ended_is_not_in_flight() -> None:
    page = Page()
    for error in (None, StoreFailed("disk full")):
        page.metrics.notify(FillStarted("docker.io", DIGEST))
        page.metrics.notify(FillFinished("docker.io", DIGEST, 5, error is None, error))
    assert page.value("mirror_fills_in_flight") == 0


def test_every_event_is_taken() -> None:
    page = Page()
    for event in one_of_each():
        page.metrics.notify(event)


def test_the_constants() -> None:
    page = Page()
    assert page.value('mirror_build_info{version="1.2.3"}') == 1
    assert page.value("mirror_cache_max_bytes") == 10_000


def test_every_series_of_a_request_is_there_from_the_start() -> None:
    page = Page()
    for upstream in ("docker.io", "ghcr.io"):
        for kind in ("manifest", "blob"):
            for outcome in Outcome:
                series = f'mirror_requests_total{{kind="{kind}",outcome="{outcome}",upstream="{upstream}"}}'
                assert page.value(series) == 0


@pytest.mark.parametrize("reason", ["full", "slow_head", "malformed", "tls"])
def test_every_reason_to_refuse_a_connection_is_there_from_the_start(reason: str) -> None:
    assert Page().value(f'mirror_connections_refused_total{{reason="{reason}"}}') == 0


def test_no_series_says_when_it_began() -> None:
    page = Page()
    for event in one_of_each():
        page.metrics.notify(event)
    assert not [series for series in page.series if "_created" in series]


statuses = st.none() | st.integers(100, 999)
upstreams = st.sampled_from(["docker.io", "ghcr.io"])
kinds = st.sampled_from(Kind)
anything = st.one_of(
    st.builds(
        RequestFinished,
        st.text(max_size=8),
        st.text(max_size=8),
        st.text(max_size=8),
        kinds,
        st.sampled_from(["docker.io", "ghcr.io", "none"]),
        st.sampled_from(Outcome),
        st.integers(100, 999),
        st.sampled_from(["cache", "upstream"]),
        user_agent=st.text(max_size=8),
        cause=st.none() | st.text(max_size=8),
    ),
    st.builds(UpstreamAnswered, upstreams, kinds, statuses, st.floats(0, 100)),
    st.builds(EndpointJudged, upstreams, st.just("https://registry.example"), st.booleans(), st.none() | st.text()),
    st.builds(DigestMismatched, upstreams, digests),
    st.builds(Evicted, digests, st.integers(0, 10)),
    st.builds(CredentialsWithheld, upstreams, st.text(max_size=8)),
    st.builds(StoreTroubled, st.text(max_size=8), st.just(StoreFailed("disk full"))),
)
CLOSED = {
    "endpoint": {"https://registry.example"},
    "upstream": {"docker.io", "ghcr.io", "none"},
    "kind": {str(kind) for kind in Kind},
    "outcome": {
        *map(str, Outcome),
        *TOKEN_OUTCOMES,
        *VISIBILITY_OUTCOMES,
        *map(str, Warmth),
        *HOT_OUTCOMES,
        *map(str, Ahead),
        *map(str, Parts),
    },
    "source": {"cache", "upstream"},
    "reason": {"lost", "hung", "reload", "size", "disk", "age", "full", "slow_head", "malformed", "tls"},
    "result": {"ok", "refetched", "removed", "left"},
    "trouble": {str(trouble) for trouble in Trouble},
    "spending": {str(spending) for spending in Spending},
    "version": {"1.2.3"},
}


def note(kind: Kind, upstream: str, outcome: Outcome) -> RequestFinished:
    return RequestFinished("GET", "/", "c", kind, upstream, outcome, 200, sent=7)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 400) | st.sampled_from(SECONDS), max_size=30))
def test_durations_are_sorted_as_the_library_sorts_them(durations: list[float]) -> None:
    page, registry = Page(), CollectorRegistry()
    told = Histogram("mirror_request_duration_seconds", "", ["kind", "outcome"], buckets=SECONDS, registry=registry)
    theirs = told.labels("blob", "hit")
    for seconds in durations:
        page.metrics.notify(RequestFinished("GET", "/", "c", Kind.BLOB, "ghcr.io", Outcome.HIT, 200, seconds=seconds))
        theirs.observe(seconds)
    expected = [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]
    assert set(expected) <= set(page.lines)


@settings(max_examples=30)
@given(st.data(), st.lists(st.builds(note, kinds, upstreams, st.sampled_from(Outcome)), min_size=1, max_size=3))
def test_many_are_counted_as_each_by_itself(data: st.DataObject, notes: list[RequestFinished]) -> None:
    bounds = st.sampled_from([round(seconds * 1_000_000) for seconds in SECONDS])
    one = st.tuples(st.sampled_from(notes), st.just("c"), st.just(0), st.integers(0, 10**9) | bounds)
    event = RequestsRepeated(data.draw(st.lists(one, max_size=20)))
    together, alone = Page(), Page()
    together.metrics.notify(event)
    for each in event.each():
        alone.metrics.notify(each)
    assert together.lines == alone.lines


def test_a_page_tells_of_every_request_before_it() -> None:
    page = Page()
    for number in range(1, 4):
        page.metrics.notify(RequestFinished("GET", "/", "c", Kind.BLOB, "ghcr.io", Outcome.HIT, 200, sent=2))
        assert page.value('mirror_requests_total{kind="blob",outcome="hit",upstream="ghcr.io"}') == number
        assert page.value('mirror_request_duration_seconds_count{kind="blob",outcome="hit"}') == number
        assert page.value('mirror_response_bytes_total{source="cache",upstream="ghcr.io"}') == 2 * number


@given(st.lists(anything, max_size=30))
def test_labels_are_closed_sets(happened: list[Event]) -> None:
    page = Page()
    for event in happened:
        page.metrics.notify(event)
    for series in page.series:
        for label, value in re.findall(r'(\w+)="([^"]*)"', series):
            if label == "status":
                assert re.fullmatch(r"none|[1-9]xx|[1-5]\d\d", value)
            elif label != "le":
                assert value in CLOSED[label]


def test_random_paths_make_no_series() -> None:
    page = Page()
    template = {"kind": Kind.MANIFEST, "upstream": "docker.io", "outcome": Outcome.HIT, "status": 200}
    page.metrics.notify(RequestFinished("GET", "/v2/", "10.0.0.1", **template))  # type: ignore[arg-type]
    before = page.series
    for number in range(200):
        digest = Digest.of(b"%d" % number)
        path = f"/v2/repository-{number}/manifests/{digest}"
        page.metrics.notify(
            RequestFinished(f"METHOD{number}", path, f"10.0.0.{number}", user_agent=path, **template)  # type: ignore[arg-type]
        )
        page.metrics.notify(Evicted(digest, number))
        page.metrics.notify(DigestMismatched("docker.io", digest))
    assert page.series == before
    assert page.value('mirror_requests_total{kind="manifest",outcome="hit",upstream="docker.io"}') == 201


def test_statuses_make_few_series() -> None:
    page = Page()
    before = len(page.series)
    for status in range(100, 1000):
        page.metrics.notify(UpstreamAnswered("docker.io", Kind.BLOB, status, 0))
    assert len(page.series) - before <= 25


def test_two_mirrors_in_one_process_count_apart() -> None:
    one, other = Page(), Page()
    one.metrics.notify(UpstreamReceived("docker.io", 5))
    assert other.value('mirror_upstream_bytes_total{upstream="docker.io"}') == 0


def test_a_trouble_that_is_over_is_taken_back() -> None:
    page = Page()
    for readiness in (Readiness(ready=False, troubles=(Trouble.UNREADABLE,)), Readiness(ready=True)):
        page.metrics.notify(ReadinessTold(readiness))
    assert page.value("mirror_ready") == 1
    assert [page.value(f'mirror_degraded{{trouble="{trouble}"}}') for trouble in Trouble] == [0] * len(Trouble)
