"""What holds for a tag now: the rule of its name, and what may be spent on its upstream."""

from __future__ import annotations

from collections.abc import Callable

from mirror.oci.reference import Tag, Variant
from mirror.proxy.cache_status import SAVING_PULLS, CacheStatus, Outcome
from mirror.proxy.freshness import Freshness, FreshnessPolicy, TagRecord, judge
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.rate_limit import Governor
from mirror.proxy.routing import Route

_HIT = CacheStatus(Outcome.HIT)
_SPARED = CacheStatus(Outcome.HIT, detail=SAVING_PULLS)


class TagTerms:
    """Judges the records of tags at this moment."""

    def __init__(self, policy: FreshnessPolicy, governor: Governor, clock: Clock) -> None:
        self._policy = policy
        self._governor = governor
        self._clock = clock

    def rules(self, tag: Tag | Variant) -> FreshnessPolicy:
        """Return what is configured for this tag; what it is to some clients ages by the same rule."""
        return self._policy.of(tag.tag.name if isinstance(tag, Variant) else tag.name)

    def now(self, route: Route, tag: Tag | Variant) -> FreshnessPolicy:
        """Return what holds for this tag now."""
        return self.rules(tag).for_spending(self._governor.spending(route.upstream))

    def fresh(self, route: Route, tag: Tag | Variant, record: TagRecord) -> CacheStatus | None:
        """Return the status of a tag that is fresh, None for one that is not."""
        now, rules = self._clock(), self.rules(tag)
        if judge(record, rules, now) is Freshness.FRESH:
            return _HIT
        terms = rules.for_spending(self._governor.spending(route.upstream))
        return _SPARED if judge(record, terms, now) is Freshness.FRESH else None

    def stays(self, route: Route, tag: Tag | Variant, record: TagRecord, status: CacheStatus) -> Callable[[], bool]:
        """Return what tells at any time whether the status of a tag that was fresh is still this one."""
        clock, since = self._clock, record.validated_at
        own = self.rules(tag).tag_ttl.total_seconds() if status == _HIT and record.gone_since is None else 0.0

        def still() -> bool:
            # While its own rule says so nothing else matters.
            return 0 <= clock() - since < own or self.fresh(route, tag, record) == status

        return still

    def age(self, record: TagRecord) -> int:
        """Return how many seconds ago upstream vouched for what the record says."""
        return record.age(self._clock())
