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


class Freshness(StrEnum):
    """What may be done with a tag record."""

    FRESH = "fresh"
    """Serve it without asking."""
    STALE = "stale"
    """Ask first; serve it if upstream cannot be asked."""
    EXPIRED = "expired"
    """Ask; there is nothing to fall back on."""


def judge(record: TagRecord | None, policy: FreshnessPolicy, now: float) -> Freshness:
    """Return what `record` is good for at `now` (seconds since the epoch).

    A record from the future is stale, not immortal: the clock was set back, so its age is unknown.
    """
    return Freshness.EXPIRED if record is None else judge_age(now - record.validated_at, policy)


def judge_age(age: float, policy: FreshnessPolicy) -> Freshness:
    """Return what upstream's word is good for after `age` seconds, fewer than none where the clock was set back."""
    if 0 <= age < policy.tag_ttl.total_seconds():
        return Freshness.FRESH
    if age < policy.tag_ttl.total_seconds() + policy.stale_if_error.total_seconds():
        return Freshness.STALE
    return Freshness.EXPIRED
