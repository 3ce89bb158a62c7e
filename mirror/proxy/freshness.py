"""How long a tag may be believed: RFC 9111's fresh and stale, RFC 5861's extensions of it. Pure functions.

Only tags age. Content named by its digest is always fresh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from mirror.oci.digest import Digest
from mirror.proxy.rate_limit import Spending, stretched
from mirror.proxy.tag_rules import TagRule

IMMUTABLE = timedelta.max
"""The TTL of what never changes: however old the record is, nobody is asked again."""

FOR_EVER = timedelta.max
"""How long what is stale may be served where nobody can be asked ever."""


@dataclass(frozen=True, slots=True)
class TagRecord:
    """What a tag pointed to, and when upstream last said so (`validated_at`, seconds since the epoch).

    `gone_since` is when the mirror first heard that upstream has deleted it; None for what upstream has.
    """

    digest: Digest
    validated_at: float
    gone_since: float | None = None

    def age(self, now: float) -> int:
        """Return the whole seconds since validation, never negative, for the Age header."""
        return max(0, int(now - self.validated_at))


@dataclass(frozen=True, slots=True)
class FreshnessPolicy:
    """For how long a tag is served unasked, for how much longer while upstream is asked, or cannot be asked.

    What upstream has deleted is served for `keep_deleted`, which is 0 for not at all. The first of the `rules` that
    matches a tag replaces its `tag_ttl`; the others hold for all.
    """

    tag_ttl: timedelta
    stale_if_error: timedelta
    stale_while_revalidate: timedelta = timedelta()
    keep_deleted: timedelta = timedelta()
    rules: tuple[TagRule, ...] = ()
    is_offline: bool = False

    def offline(self) -> FreshnessPolicy:
        """Return the policy of a mirror that asks nobody: what is cached is served, whatever its age."""
        return replace(self, stale_if_error=FOR_EVER, stale_while_revalidate=timedelta(), is_offline=True)

    def rule(self, tag: str) -> TagRule | None:
        """Return the rule that holds for a tag, None where it is `tag_ttl`."""
        return next((rule for rule in self.rules if rule.match.matches(tag)), None)

    def of(self, tag: str) -> FreshnessPolicy:
        """Return the policy for this tag."""
        rule = self.rule(tag)
        return self if rule is None else replace(self, tag_ttl=rule.ttl, rules=())

    def for_spending(self, spending: Spending) -> FreshnessPolicy:
        """Return the policy while this may be spent on an upstream: what saves pulls asks less often.

        Where nothing is left there is nothing to save, and asking tells when there is something again.
        """
        return replace(self, tag_ttl=stretched(self.tag_ttl)) if spending is Spending.SAVING else self


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Until when a tag record is good for what; all in seconds since the epoch.

    `fresh_until` to be served unasked, `grace_until` while upstream is asked, `stale_until` while it cannot be asked;
    `deleted_until` although upstream has deleted it, None for what it has.
    """

    fresh_until: float
    grace_until: float
    stale_until: float
    deleted_until: float | None = None


class Freshness(StrEnum):
    """What may be done with a tag record."""

    FRESH = "fresh"
    """Serve it without asking."""
    GRACE = "grace"
    """Serve it at once, and ask meanwhile."""
    STALE = "stale"
    """Ask first; serve it if upstream cannot be asked."""
    KEPT = "kept"
    """Upstream has deleted it: ask now and then whether it is back, and serve it all the same."""
    EXPIRED = "expired"
    """Ask; there is nothing to fall back on."""


def lifetime(record: TagRecord, policy: FreshnessPolicy) -> Lifetime:
    """Return until when `record` is good for what."""
    fresh = policy.tag_ttl.total_seconds()
    grace = fresh + policy.stale_while_revalidate.total_seconds()
    since, kept = record.gone_since, policy.keep_deleted.total_seconds()
    return Lifetime(
        record.validated_at + fresh,
        record.validated_at + grace,
        record.validated_at + _usable(policy),
        None if since is None else since + kept,
    )


def judge(record: TagRecord | None, policy: FreshnessPolicy, now: float) -> Freshness:
    """Return what `record` is good for at `now` (seconds since the epoch).

    A record from the future is stale, not immortal: the clock was set back, so its age is unknown.
    """
    if record is None:
        return Freshness.EXPIRED
    if record.gone_since is None:
        return judge_age(now - record.validated_at, policy)
    kept = policy.keep_deleted.total_seconds()
    return Freshness.KEPT if kept > 0 and now - record.gone_since < kept else Freshness.EXPIRED


def judge_age(age: float, policy: FreshnessPolicy) -> Freshness:
    """Return what upstream's word is good for after `age` seconds, fewer than none where the clock was set back."""
    fresh = policy.tag_ttl.total_seconds()
    if policy.tag_ttl == IMMUTABLE or 0 <= age < fresh:
        return Freshness.FRESH
    if 0 <= age < fresh + policy.stale_while_revalidate.total_seconds():
        return Freshness.GRACE
    return Freshness.STALE if outlasts(age, policy) else Freshness.EXPIRED


def outlasts(age: float, policy: FreshnessPolicy) -> bool:
    """Tell whether upstream's word is good enough after `age` seconds while upstream cannot be asked."""
    return age < _usable(policy)


def usable(record: TagRecord, policy: FreshnessPolicy, now: float) -> bool:
    """Tell whether `record` is good enough at `now` while upstream cannot be asked."""
    if record.gone_since is not None:
        return judge(record, policy, now) is Freshness.KEPT
    return outlasts(now - record.validated_at, policy)


def deleted(record: TagRecord, now: float) -> TagRecord:
    """Return the record of a tag that upstream says at `now` to have deleted, if it did not say so before.

    A moment that is still to come was told by another clock; the deletion counts from now then.
    """
    is_known = record.gone_since is not None and record.gone_since <= now
    return record if is_known else replace(record, gone_since=now)


def _usable(policy: FreshnessPolicy) -> float:
    """Return after how many seconds upstream's word is good for nothing, except while it is asked."""
    return policy.tag_ttl.total_seconds() + policy.stale_if_error.total_seconds()
