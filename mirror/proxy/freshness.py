"""How long a tag may be believed: RFC 9111's fresh and stale, RFC 5861's stale-if-error. Pure functions.

Only tags age. Content named by its digest is always fresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mirror.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class TagRecord:
    """What a tag pointed to, and when upstream last said so (`validated_at`, seconds since the epoch)."""

    digest: Digest
    validated_at: float

    def age(self, now: float) -> int:
        """Return the whole seconds since validation, never negative, for the Age header."""
        return max(0, int(now - self.validated_at))


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """For how long a tag is served unasked, and for how much longer while upstream cannot be asked."""

    tag_ttl: timedelta
    stale_if_error: timedelta


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Until when a tag record is good for what; both in seconds since the epoch."""

    fresh_until: float
    stale_until: float


class Freshness(StrEnum):
    """What may be done with a tag record."""

    FRESH = "fresh"
    """Serve it without asking."""
    STALE = "stale"
    """Ask first; serve it if upstream cannot be asked."""
    EXPIRED = "expired"
    """Ask; there is nothing to fall back on."""


def lifetime(record: TagRecord, policy: FreshnessPolicy) -> Lifetime:
    """Return until when `record` is fresh, and until when it may be served stale."""
    fresh, usable = _spans(policy)
    return Lifetime(record.validated_at + fresh, record.validated_at + usable)


def judge(record: TagRecord | None, policy: FreshnessPolicy, now: float) -> Freshness:
    """Return what `record` is good for at `now` (seconds since the epoch).

    A record from the future is stale, not immortal: the clock was set back, so its age is unknown.
    """
    return Freshness.EXPIRED if record is None else judge_age(now - record.validated_at, policy)


def judge_age(age: float, policy: FreshnessPolicy) -> Freshness:
    """Return what upstream's word is good for after `age` seconds, fewer than none where the clock was set back."""
    fresh, usable = _spans(policy)
    if 0 <= age < fresh:
        return Freshness.FRESH
    return Freshness.STALE if age < usable else Freshness.EXPIRED


def _spans(policy: FreshnessPolicy) -> tuple[float, float]:
    """Return after how many seconds upstream's word is fresh no more, and after how many it is good for nothing."""
    fresh = policy.tag_ttl.total_seconds()
    return fresh, fresh + policy.stale_if_error.total_seconds()
