"""Answers that were true at a time: how old they are, and what a person is told if that is too old."""

from __future__ import annotations

from mirror.errors import LimitReached, PullSaved, UpstreamOffline, UpstreamUnavailable
from mirror.proxy.cache_status import (
    DELETED_UPSTREAM,
    LIMIT_REACHED,
    OFFLINE,
    SAVING_PULLS,
    UPSTREAM_UNAVAILABLE,
    CacheStatus,
    Outcome,
)
from mirror.server.exchange import Exchange

_WARNINGS = {
    UPSTREAM_UNAVAILABLE: "upstream cannot be asked",
    OFFLINE: "upstream is not asked, as the mirror is offline",
    DELETED_UPSTREAM: "upstream has deleted this tag",
    SAVING_PULLS: "few pulls are left, or none",
    LIMIT_REACHED: "upstream wants to be left alone",
}


def record(exchange: Exchange, status: CacheStatus, trouble: UpstreamUnavailable | None) -> None:
    """Note what the cache did, and why it is stale if it is."""
    exchange.record(status)
    # That the mirror is offline, or that a limit has been reached, is not told with each request.
    if trouble is not None and not isinstance(trouble, UpstreamOffline | PullSaved | LimitReached):
        exchange.note.cause = f"served stale: {trouble}"


def dated(status: CacheStatus, age: int) -> dict[str, str]:
    """Return the headers of an answer that upstream vouched for `age` seconds ago."""
    headers = {"Age": str(age)}
    why = _WARNINGS.get(status.detail or "")
    if why is not None and status.outcome is Outcome.STALE:
        # The distribution spec's way of telling a person something through their client ("Warnings").
        headers["Warning"] = f'299 - "stale: {why}, last confirmed {age} s ago"'
    return headers
