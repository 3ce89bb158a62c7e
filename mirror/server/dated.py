"""Answers that were true at a time: how old they are, and what a person is told if that is too old."""

from __future__ import annotations

from mirror.errors import UpstreamOffline, UpstreamUnavailable
from mirror.proxy.cache_status import DELETED_UPSTREAM, OFFLINE, UPSTREAM_UNAVAILABLE, CacheStatus
from mirror.server.exchange import Exchange

_WARNINGS = {
    UPSTREAM_UNAVAILABLE: "upstream cannot be asked",
    OFFLINE: "upstream is not asked, as the mirror is offline",
    DELETED_UPSTREAM: "upstream has deleted this tag",
}


def record(exchange: Exchange, status: CacheStatus, trouble: UpstreamUnavailable | None) -> None:
    """Note what the cache did, and why it is stale if it is."""
    exchange.record(status)
    if trouble is not None and not isinstance(trouble, UpstreamOffline):
        exchange.note.cause = f"served stale: {trouble}"


def dated(status: CacheStatus, age: int) -> dict[str, str]:
    """Return the headers of an answer that upstream vouched for `age` seconds ago."""
    headers = {"Age": str(age)}
    if status.detail in _WARNINGS:
        # The distribution spec's way of telling a person something through their client ("Warnings").
        headers["Warning"] = f'299 - "stale: {_WARNINGS[status.detail]}, last confirmed {age} s ago"'
    return headers
