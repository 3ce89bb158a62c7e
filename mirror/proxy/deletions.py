"""Deletions: what upstream has deleted is served on for `keep_deleted` after the mirror first heard of it.

A 404 says that something is gone, of whatever upstream let the mirror see before. A 401 says so as well where nobody
ever asked with credentials, since then nothing was seen that was not for everybody: Docker Hub says it of a repository
that is gone. It may also have become private, which nobody without credentials can tell apart; what credentials have
opened is therefore never served on after a 401 or a 403.
"""

from __future__ import annotations

from mirror.errors import ManifestUnknown, Refused, Unauthorized
from mirror.oci.reference import Tag, Variant
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.upstreams import DeletionSeen
from mirror.proxy.freshness import Freshness, FreshnessPolicy, TagRecord, deleted, judge
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.interfaces.store import Records
from mirror.proxy.routing import Route


class Deletions:
    """Notes when tags were deleted, for all processes and across restarts, and says so once."""

    def __init__(self, records: Records, policy: FreshnessPolicy, clock: Clock, observer: Observer) -> None:
        self._records = records
        self._policy = policy
        self._clock = clock
        self._observer = observer

    async def keeps(self, route: Route, tag: Tag | Variant, record: TagRecord, error: Refused) -> bool:
        """Tell whether a tag is served although upstream refuses it like this, and note since when; else forget it."""
        gone = deleted(record, self._clock())
        is_kept = judge(gone, self._policy, self._clock()) is Freshness.KEPT
        if not is_kept or not await self._is_deletion(route, error):
            await self._records.forget_tag(route, tag)
            return False
        if gone != record:
            await self._records.put_tag(route, tag, gone)
            if isinstance(tag, Tag):
                self._observer.notify(DeletionSeen(route.upstream, f"{route}:{tag}"))
        return True

    async def _is_deletion(self, route: Route, error: Refused) -> bool:
        if isinstance(error, Unauthorized):
            return not await self._records.credentialed(route.upstream)
        return isinstance(error, ManifestUnknown)
