"""Hot tags: those that clients keep asking for are revalidated before anybody has to wait for it.

A tag is hot if it was asked for several times within a few of its TTLs: clients would have had upstream asked as often.
It is asked by HEAD, which costs no pull; a tag that has moved costs one, so it is only done where pulls are free.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mirror.errors import MirrorError
from mirror.oci.reference import Tag
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.events.warming import HotTagRefreshed
from mirror.proxy.freshness import FreshnessPolicy, lifetime
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.interfaces.store import Records
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.rate_limit import Governor, Spending
from mirror.proxy.refreshed import Refreshed
from mirror.proxy.routing import Route
from mirror.proxy.visibility import Visibility
from mirror.proxy.warming.in_turn import in_turn

TIMES = 3
"""So many requests make a tag hot …"""

SPAN = 4
"""… within so many of its TTLs."""

MOST_TAGS = 1000
"""Tags whose requests are remembered; those that were asked for longest ago are forgotten first."""

LOOK_SECONDS = 10.0
"""How often it is looked which tags are due."""

LEAD_SECONDS = 30.0
"""How long before the end of its TTL a tag is revalidated …"""

LEAD_SHARE = 0.2
"""… or this share of the TTL, if that is less."""

SHORTEST_TTL = 60.0
"""Seconds; tags that are believed for less are left to clients: they would be asked for all the time."""

RETRY_SECONDS = 60.0
"""How long a tag rests after it was asked for, whatever came of it."""

AT_ONCE = 4
"""Tags that are revalidated at a time."""

Asked = tuple[Route, Tag]


class Requests:
    """When clients last asked for which tags; `now` is in seconds of a clock that never jumps."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._times: dict[Asked, deque[float]] = {}

    def note(self, route: Route, tag: Tag, count: int = 1) -> None:
        """Clients were served this tag, so many of them."""
        times = self._times.get((route, tag))
        if times is None:
            if len(self._times) >= MOST_TAGS:
                self._forget_half()
            times = self._times[route, tag] = deque(maxlen=TIMES)
        times.extend([self._now()] * min(count, TIMES))

    def _forget_half(self) -> None:
        # Half at once: then what a request costs is next to nothing, however many tags there are.
        by_last = sorted(self._times, key=lambda asked: self._times[asked][-1])
        for asked in by_last[: MOST_TAGS // 2]:
            del self._times[asked]

    def tags(self) -> list[Asked]:
        """Return all tags that are remembered."""
        return list(self._times)

    def are_many(self, asked: Asked, seconds: float) -> bool:
        """Tell whether a tag was asked for several times in these last seconds."""
        times = self._times.get(asked)
        return times is not None and len(times) == TIMES and self._now() - times[0] <= seconds


@dataclass(frozen=True, slots=True)
class Asking:
    """How it is known what a tag is, and how upstream is asked."""

    manifests: PullManifest
    records: Records
    visibility: Visibility
    governor: Governor
    policy: FreshnessPolicy
    clock: Clock


class KeepHot:
    """Revalidates hot tags shortly before they would be too old."""

    def __init__(self, requests: Requests, asking: Asking, observer: Observer) -> None:
        self._requests = requests
        self._do = asking
        self._observer = observer
        self._asked_at: dict[Asked, float] = {}

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                await in_turn(await self._due(), AT_ONCE, self._refresh)
            except Exception as error:  # a bug here must not be the end of it
                self._observer.notify(TaskCrashed("hot tags", error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _due(self) -> list[Asked]:
        now = asyncio.get_running_loop().time()
        self._asked_at = {asked: at for asked, at in self._asked_at.items() if now - at < RETRY_SECONDS}
        return [asked for asked in self._requests.tags() if await self._is_due(asked)]

    async def _is_due(self, asked: Asked) -> bool:
        route, tag = asked
        policy = self._do.policy.of(tag.name)
        ttl = policy.tag_ttl.total_seconds()
        if ttl < SHORTEST_TTL or asked in self._asked_at or not self._requests.are_many(asked, ttl * SPAN):
            return False
        record = await self._do.records.tag(route, tag)
        if record is None:
            return False
        left = lifetime(record, policy).fresh_until - self._do.clock()
        return left <= min(LEAD_SECONDS, ttl * LEAD_SHARE)

    async def _refresh(self, asked: Asked) -> None:
        route, tag = asked
        if self._do.governor.spending(route.upstream) is not Spending.FREE:
            return
        self._asked_at[asked] = asyncio.get_running_loop().time()
        try:
            await self._do.visibility.check(route, Kind.MANIFEST, tag)
            found = await self._do.manifests.refresh(route, tag)
        except MirrorError:
            # Whether clients may have it is theirs to find out.
            return
        outcome = found if found in (Refreshed.UNCHANGED, Refreshed.MOVED) else "failed"
        self._observer.notify(HotTagRefreshed(outcome))
