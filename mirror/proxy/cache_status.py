"""What the cache did for an answer: the `Cache-Status` header (RFC 9211) and the outcome that is counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mirror.errors import LimitReached, PullSaved, UpstreamOffline, UpstreamUnavailable


class Kind(StrEnum):
    """What a request is about; a closed set, because it labels metrics."""

    __hash__ = str.__hash__
    # Enum's own is Python, and each request is counted by these.

    MANIFEST = "manifest"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"
    OTHER = "other"


class Outcome(StrEnum):
    """How a request ended; a closed set, because it labels metrics."""

    __hash__ = str.__hash__
    # Enum's own is Python, and each request is counted by these.

    HIT = "hit"
    MISS = "miss"
    COLLAPSED = "collapsed"
    REVALIDATED = "revalidated"
    STALE = "stale"
    NEGATIVE = "negative"
    DENIED = "denied"
    ERROR = "error"


REVALIDATING = "revalidating"
"""The detail of what is served stale while upstream is asked."""

UPSTREAM_UNAVAILABLE = "upstream-unavailable"
"""The detail of what is served stale because upstream cannot be asked."""

OFFLINE = "offline"
"""The detail of what is served stale because nobody is asked."""

DELETED_UPSTREAM = "deleted-upstream"
"""The detail of what is served although upstream has deleted it."""

SAVING_PULLS = "saving-pulls"
"""The detail of what is older than it would be if more pulls were left."""

LIMIT_REACHED = "limit-reached"
"""The detail of what is served stale because upstream wants to be left alone."""

_STALE_BECAUSE: dict[type[object], str] = {
    UpstreamOffline: OFFLINE,
    PullSaved: SAVING_PULLS,
    LimitReached: LIMIT_REACHED,
}

_PARAMETERS = {
    Outcome.HIT: "; hit",
    Outcome.MISS: "; fwd=miss",
    Outcome.COLLAPSED: "; fwd=miss; collapsed",
    Outcome.REVALIDATED: "; fwd=stale; fwd-status=200",
    Outcome.STALE: "; fwd=stale",
    Outcome.NEGATIVE: "; fwd=miss; fwd-status=404",
    Outcome.DENIED: "; fwd=miss",
    Outcome.ERROR: "",
}


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """The outcome of one request: whether its body is being stored, a word on why (an sf-token), and whether
    it is the memory of a failure rather than news.
    """

    outcome: Outcome
    stored: bool = False
    detail: str | None = None
    remembered: bool = False

    def __str__(self) -> str:
        stored = "; stored" if self.stored else ""
        detail = f"; detail={self.detail}" if self.detail else ""
        is_memory = self.remembered and self.outcome in (Outcome.NEGATIVE, Outcome.DENIED)
        parameters = _PARAMETERS[Outcome.HIT if is_memory else self.outcome]
        return f"mirror{parameters}{stored}{detail}"


def stale_because(error: UpstreamUnavailable | None) -> CacheStatus:
    """Return the status of what is served although it is too old, since asking ended like this."""
    return CacheStatus(Outcome.STALE, detail=_STALE_BECAUSE.get(type(error), UPSTREAM_UNAVAILABLE))
