"""All metrics, on one page. Labels are closed sets: never a repository, a tag, a digest or an address."""

from __future__ import annotations

import math
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.access import TokenRequested, VisibilityAsked
from mirror.proxy.events.connections import ConnectionRefused, ConnectionsCounted
from mirror.proxy.events.fills import DigestMismatched, FillFinished, FillResumed, FillStarted
from mirror.proxy.events.limits import LimitTold, PullSpent
from mirror.proxy.events.observer import Event
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.events.scrubbing import FileScrubbed, ScrubFinished
from mirror.proxy.events.store import CacheResized, Evicted
from mirror.proxy.events.troubles import ReadinessTold
from mirror.proxy.events.upstreams import DeletionSeen, EndpointJudged, UpstreamAnswered, UpstreamReceived
from mirror.proxy.events.warming import HotTagRefreshed, ImageWarmed, WarmingRoundFinished
from mirror.proxy.rate_limit import Spending
from mirror.proxy.readiness import Readiness, Trouble
from mirror.proxy.warming.warm import Warmth

_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 1, 2.5, 5, 10, 20, 30, 60, 300)
_STATUSES = {200, 206, 304, 400, 401, 403, 404, 405, 416, 429, 500, 502, 503, 504}
# Of a series that begins with its first event, a rate shows nothing before the second.
_STATUSES_FROM_ZERO = ("200", "401", "403", "404", "429", "500", "502", "503", "504", "none")
SCRUB_RESULTS = ("ok", "refetched", "removed", "left")
EVICTION_REASONS = ("size", "disk", "age")
TOKEN_OUTCOMES = ("granted", "refused", "failed")
VISIBILITY_OUTCOMES = ("public", "private", "missing", "untold")
HOT_OUTCOMES = ("unchanged", "moved", "failed")
_REFUSALS = ("full", "slow_head", "malformed", "tls")

# The names of the _created series would double every counter on the page.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counts events (see Observer); `registry` is what `/metrics` shows.

    `upstreams` are the names of all upstreams there are, `endpoints` those names with an endpoint each, so that every
    series exists from the start.
    """

    def __init__(
        self, upstreams: Iterable[str], version: str, max_bytes: int, endpoints: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.registry = CollectorRegistry()
        self._make_connection_metrics()
        self._make_request_metrics()
        self._make_upstream_metrics()
        self._make_limit_metrics()
        self._make_cache_metrics()
        self._make_scrub_metrics()
        self._make_warming_metrics()
        self._make_readiness_metrics()
        self._begin_at_zero(list(upstreams))
        for upstream, endpoint in endpoints:
            self._upstream_healthy.labels(upstream, endpoint).set(1)
        self._cache_max_bytes.set(max_bytes)
        Gauge("mirror_build_info", "Always 1; the labels say what runs", ["version"], registry=self.registry).labels(
            version
        ).set(1)

    def _make_connection_metrics(self) -> None:
        self._connections = Gauge("mirror_connections", "Open connections of clients", registry=self.registry)
        self._connections_max = Gauge(
            "mirror_connections_max", "The limit of mirror_connections", registry=self.registry
        )
        self._connections_refused = Counter(
            "mirror_connections_refused_total",
            "Connections closed before a request came of them: no room, too slow, or not HTTP",
            ["reason"],
            registry=self.registry,
        )

    def _make_request_metrics(self) -> None:
        self._requests = Counter(
            "mirror_requests_total",
            "Requests of clients, by how they ended",
            ["upstream", "kind", "outcome"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "mirror_request_duration_seconds",
            "From a client's request to the end of its answer",
            ["kind", "outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._response_bytes = Counter(
            "mirror_response_bytes_total",
            "Body bytes sent to clients: from the cache, or while they came from upstream",
            ["upstream", "source"],
            registry=self.registry,
        )

    def _make_upstream_metrics(self) -> None:
        self._upstream_requests = Counter(
            "mirror_upstream_requests_total",
            "Requests to upstreams, by the status of the answer; none where there was no answer",
            ["upstream", "kind", "status"],
            registry=self.registry,
        )
        self._upstream_seconds = Histogram(
            "mirror_upstream_request_duration_seconds",
            "From a request to an upstream to the head of its answer",
            ["upstream", "kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._upstream_healthy = Gauge(
            "mirror_upstream_healthy",
            "1 while this endpoint of an upstream answers, 0 while it does not and is not asked",
            ["upstream", "endpoint"],
            registry=self.registry,
        )
        self._upstream_bytes = Counter(
            "mirror_upstream_bytes_total",
            "Body bytes of manifests, blobs and lists received from upstreams",
            ["upstream"],
            registry=self.registry,
        )
        self._digest_mismatches = Counter(
            "mirror_digest_mismatches_total",
            "Manifests and blobs that arrived with other bytes than their digest says",
            ["upstream"],
            registry=self.registry,
        )
        self._token_requests = Counter(
            "mirror_token_requests_total",
            "Requests to token services: granted, refused or failed",
            ["upstream", "outcome"],
            registry=self.registry,
        )
        self._visibility = Counter(
            "mirror_visibility_checks_total",
            "Questions whether anybody may read a repository, where private content is served to nobody",
            ["upstream", "outcome"],
            registry=self.registry,
        )

    def _make_limit_metrics(self) -> None:
        self._limit = Gauge(
            "mirror_ratelimit_limit",
            "How many pulls the mirror's accounts are granted together, in the window of the upstream's choice; 0: no"
            " limit is known",
            ["upstream"],
            registry=self.registry,
        )
        self._remaining = Gauge(
            "mirror_ratelimit_remaining",
            "What is left of mirror_ratelimit_limit",
            ["upstream"],
            registry=self.registry,
        )
        self._exhausted_in = Gauge(
            "mirror_ratelimit_exhausted_in_seconds",
            "In how many seconds nothing will be left, if pulls go on as in the last half hour; +Inf: no end in sight",
            ["upstream"],
            registry=self.registry,
        )
        self._spending = Gauge(
            "mirror_ratelimit_spending",
            "1 for what may be spent: free, saving (the reserve has been reached), exhausted; else 0",
            ["upstream", "spending"],
            registry=self.registry,
        )
        self._pulls = Counter(
            "mirror_pulls_spent_total",
            "Manifests got from upstreams: what is counted by those that limit pulls",
            ["upstream"],
            registry=self.registry,
        )

        self._deleted = Counter(
            "mirror_deleted_upstream_total",
            "Tags that upstream was found to have deleted and that are served on (keep_deleted), each once a deletion",
            ["upstream"],
            registry=self.registry,
        )

    def _make_cache_metrics(self) -> None:
        self._cache_bytes = Gauge("mirror_cache_bytes", "Bytes of committed files", registry=self.registry)
        self._cache_max_bytes = Gauge(
            "mirror_cache_max_bytes", "The limit of mirror_cache_bytes", registry=self.registry
        )
        self._cache_objects = Gauge("mirror_cache_objects", "Committed files", ["kind"], registry=self.registry)
        self._evictions = Counter(
            "mirror_evictions_total", "Files removed from the cache, by reason", ["reason"], registry=self.registry
        )
        self._evicted_age = Gauge(
            "mirror_evicted_age_seconds",
            "How long the file that was last evicted to make room had not been used; 0 if none was yet. Less than the"
            " time between two uses of an image: the cache is too small",
            registry=self.registry,
        )
        self._resumes = Counter(
            "mirror_fill_resumes_total",
            "Times a blob on its way was cut and asked for again from where it was",
            ["upstream"],
            registry=self.registry,
        )
        self._fills = Gauge("mirror_fills_in_flight", "Blobs on their way into the cache", registry=self.registry)

    def _make_scrub_metrics(self) -> None:
        self._scrubbed = Counter(
            "mirror_scrubbed_files_total",
            "Stored files that were verified: ok, or what was done about a bad one",
            ["result"],
            registry=self.registry,
        )
        self._scrubbed_bytes = Counter(
            "mirror_scrubbed_bytes_total", "Bytes of stored files that were verified", registry=self.registry
        )
        self._scrub_finished = Gauge(
            "mirror_scrub_finished_timestamp_seconds",
            "When all stored files had last been verified; 0 if not yet",
            registry=self.registry,
        )
        for result in SCRUB_RESULTS:
            self._scrubbed.labels(result)

    def _make_warming_metrics(self) -> None:
        self._warmed = Counter(
            "mirror_warmed_total",
            "Images that were to be had in the cache: warmed, present already, spared because of a rate limit, failed",
            ["outcome"],
            registry=self.registry,
        )
        self._hot_refreshed = Counter(
            "mirror_hot_tags_refreshed_total",
            "Times a tag that clients keep asking for was revalidated before they had to wait for it",
            ["outcome"],
            registry=self.registry,
        )
        self._round_finished = Gauge(
            "mirror_warming_round_finished_timestamp_seconds",
            "When what is listed and pinned had last been looked after; 0 if not yet",
            registry=self.registry,
        )
        self._round_failed = Gauge(
            "mirror_warming_round_failed_images",
            "Listed and pinned images that failed in the last round",
            registry=self.registry,
        )
        for outcome in Warmth:
            self._warmed.labels(outcome)
        for found in HOT_OUTCOMES:
            self._hot_refreshed.labels(found)

    def _make_readiness_metrics(self) -> None:
        self._ready = Gauge("mirror_ready", "1 while hits can be served, else 0", registry=self.registry)
        self._degraded = Gauge(
            "mirror_degraded", "1 while this is not as it should be, else 0", ["trouble"], registry=self.registry
        )
        self._readiness_told(Readiness(ready=False))

    def _begin_at_zero(self, upstreams: list[str]) -> None:
        for upstream in upstreams:
            for kind in (Kind.MANIFEST, Kind.BLOB, Kind.TAGS, Kind.REFERRERS):
                self._begin_requests_at_zero(upstream, kind)
            for kind in Kind:
                self._begin_answers_at_zero(upstream, kind)
            for source in ("cache", "upstream"):
                self._response_bytes.labels(upstream, source)
            self._begin_access_at_zero(upstream)
            self._pulls.labels(upstream)
            self._limit_told(LimitTold(upstream, Spending.FREE, None, math.inf))
            self._upstream_bytes.labels(upstream)
            self._digest_mismatches.labels(upstream)
            self._deleted.labels(upstream)
            self._resumes.labels(upstream)
        for kind in (Kind.MANIFEST, Kind.BLOB):
            self._cache_objects.labels(kind)
        for reason in EVICTION_REASONS:
            self._evictions.labels(reason)
        for reason in _REFUSALS:
            self._connections_refused.labels(reason)

    def _begin_requests_at_zero(self, upstream: str, kind: Kind) -> None:
        for outcome in Outcome:
            self._requests.labels(upstream, kind, outcome)
            self._request_seconds.labels(kind, outcome)

    def _begin_answers_at_zero(self, upstream: str, kind: Kind) -> None:
        for status in _STATUSES_FROM_ZERO:
            self._upstream_requests.labels(upstream, kind, status)
        self._upstream_seconds.labels(upstream, kind)

    def _begin_access_at_zero(self, upstream: str) -> None:
        for outcome in TOKEN_OUTCOMES:
            self._token_requests.labels(upstream, outcome)
        for outcome in VISIBILITY_OUTCOMES:
            self._visibility.labels(upstream, outcome)

    def notify(self, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915  # a flat table of events
        """Count `event`."""
        match event:
            case RequestFinished():
                self._request_finished(event)
            case ConnectionsCounted(count, limit):
                self._connections.set(count)
                self._connections_max.set(limit)
            case ConnectionRefused(reason):
                self._connections_refused.labels(reason).inc()
            case UpstreamAnswered(upstream, kind, status, seconds):
                self._upstream_requests.labels(upstream, kind, _status_label(status)).inc()
                self._upstream_seconds.labels(upstream, kind).observe(seconds)
            case EndpointJudged(upstream, endpoint, is_well):
                self._upstream_healthy.labels(upstream, endpoint).set(is_well)
            case UpstreamReceived(upstream, size):
                self._upstream_bytes.labels(upstream).inc(size)
            case TokenRequested(upstream, outcome):
                self._token_requests.labels(upstream, outcome).inc()
            case PullSpent(upstream):
                self._pulls.labels(upstream).inc()
            case LimitTold():
                self._limit_told(event)
            case VisibilityAsked(upstream, outcome):
                self._visibility.labels(upstream, outcome).inc()
            case DeletionSeen(upstream):
                self._deleted.labels(upstream).inc()
            case DigestMismatched(upstream):
                self._digest_mismatches.labels(upstream).inc()
            case FillStarted():
                self._fills.inc()
            case FillResumed(upstream):
                self._resumes.labels(upstream).inc()
            case FillFinished():
                self._fills.dec()
            case Evicted(reason=reason, unused=unused):
                self._evicted(reason, unused)
            case FileScrubbed(_, size, _, action):
                self._scrubbed.labels(action or "ok").inc()
                self._scrubbed_bytes.inc(size)
            case ScrubFinished(at):
                self._scrub_finished.set(at)
            case ImageWarmed(_, outcome):
                self._warmed.labels(outcome).inc()
            case WarmingRoundFinished(at, images):
                self._round_finished.set(at)
                self._round_failed.set(images.get(Warmth.FAILED, 0))
            case HotTagRefreshed(outcome):
                self._hot_refreshed.labels(outcome).inc()
            case CacheResized():
                self._cache_resized(event)
            case ReadinessTold(readiness):
                self._readiness_told(readiness)

    def _request_finished(self, event: RequestFinished) -> None:
        self._requests.labels(event.upstream, event.kind, event.outcome).inc()
        self._request_seconds.labels(event.kind, event.outcome).observe(event.seconds)
        self._response_bytes.labels(event.upstream, event.source).inc(event.sent)

    def _evicted(self, reason: str, unused: float) -> None:
        self._evictions.labels(reason).inc()
        if reason != "age":
            self._evicted_age.set(unused)

    def _limit_told(self, event: LimitTold) -> None:
        self._limit.labels(event.upstream).set(event.rate.limit if event.rate else 0)
        self._remaining.labels(event.upstream).set(event.rate.remaining if event.rate else 0)
        self._exhausted_in.labels(event.upstream).set(event.exhausted_in)
        for spending in Spending:
            self._spending.labels(event.upstream, spending).set(spending is event.spending)

    def _readiness_told(self, readiness: Readiness) -> None:
        self._ready.set(readiness.ready)
        for trouble in Trouble:
            self._degraded.labels(trouble).set(trouble in readiness.troubles)

    def _cache_resized(self, event: CacheResized) -> None:
        self._cache_bytes.set(event.size)
        self._cache_objects.labels(Kind.MANIFEST).set(event.manifests)
        self._cache_objects.labels(Kind.BLOB).set(event.blobs)


def _status_label(status: int | None) -> str:
    if status is None:
        return "none"
    return str(status) if status in _STATUSES else f"{status // 100}xx"
