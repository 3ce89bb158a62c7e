"""Visibility: what only the mirror's credentials can read is served to nobody, whatever is cached or granted.

With `serve_private: nobody`, a repository is served while anybody may read it upstream. Its registry is asked without
credentials, and "public" is believed of the whole repository for a while. What is asked for is what a client asked
for, and from then on what was seen: clients do not choose by what a repository is judged that was public before. An
outage lets "public" go stale, like a tag; only upstream's explicit no withdraws it. "Private" never goes stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from mirror.errors import (
    Denied,
    NotPublic,
    Refused,
    UpstreamFailed,
    UpstreamInvalid,
    UpstreamUnavailable,
)
from mirror.oci.reference import Reference
from mirror.proxy.belief import Belief, by_age
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.access import VisibilityAsked
from mirror.proxy.events.observer import Observer
from mirror.proxy.failures import UNAVAILABLE_SECONDS, Failures
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.interfaces.store import ShortLivedCache
from mirror.proxy.interfaces.views import Sighting, Sightings, Viewer
from mirror.proxy.routing import Route
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks

TELL_WITHIN = 4.0
"""Seconds upstream has to tell; a little less than who waits for it has."""

WAIT_WITHIN = 5.0
"""Seconds a request waits for that: what is left of 25 beside the time that upstream has for the content."""

_PUBLIC = "public"
_PRIVATE = "private"
_OF_THE_QUESTION = (UpstreamInvalid, UpstreamFailed)
# What may be due to the very thing that was asked for; other troubles are the registry's with everything.

_NOT_PUBLIC = "this repository is not public, and the mirror serves private content to nobody (serve_private)"


@dataclass(frozen=True, slots=True)
class View:
    """An upstream as anybody sees it, and for how long "public" and "private" are believed."""

    anybody: Viewer
    auth_ttl: timedelta


@dataclass(frozen=True, slots=True)
class Memory:
    """Where answers are remembered: for a while, and for outages of up to `stale_if_error`."""

    sightings: Sightings
    cache: ShortLivedCache
    failures: Failures
    stale_if_error: timedelta
    clock: Clock
    keeps_deleted: bool = False
    """Whether what is gone is to be told from what is closed (see deletions)."""


class Visibility:
    """Decides whether clients may have anything of a repository, before anything else of it is looked at.

    `views` are of the upstreams that serve private content to nobody; others are not asked about.
    """

    def __init__(self, views: Mapping[str, View], memory: Memory, tasks: Tasks, observer: Observer) -> None:
        self._views = views
        self._sightings = memory.sightings
        self._cache = memory.cache
        self._failures = memory.failures
        self._stale_seconds = memory.stale_if_error.total_seconds()
        self._clock = memory.clock
        self._keeps_deleted = memory.keeps_deleted
        self._observer = observer
        self._guarded: dict[str, View] = {}
        self._flights = SingleFlight[Refused | UpstreamUnavailable | None](tasks)

    async def guard(self, credentialed: Iterable[str]) -> None:
        """Begin to guard upstreams: those that have credentials now, and those that had when the cache was filled."""
        now = set(credentialed)
        for upstream in now:
            await self._sightings.put_credentialed(upstream)
        self._guarded = {
            upstream: view
            for upstream, view in self._views.items()
            # Those of now whatever the disk takes and tells.
            if upstream in now or await self._sightings.credentialed(upstream)
        }

    async def check(self, route: Route, kind: Kind, reference: Reference | None) -> None:
        """Return if anybody may read the repository.

        Raises NotPublic if not, another Refused if upstream tells anybody that there is no such thing, and
        UpstreamUnavailable if it cannot be told.
        """
        view = self._guarded.get(route.upstream)
        if view is None or await self._cache.get(_key(route)) == _PUBLIC:
            return
        async with answer_within(WAIT_WITHIN):
            while True:
                problem, joined = await self._flights.run(route, lambda: self._learn(view, route, kind, reference))
                if problem is None:
                    return
                if not joined:
                    raise problem
                # It was about what another request asked for, and says nothing about this one.

    def is_believed(self, route: Route) -> bool:
        """Tell whether `check` would return without anything to wait for."""
        return route.upstream not in self._guarded or self._cache.at_hand(_key(route)) == _PUBLIC

    async def belief(self, route: Route) -> Belief:
        """Return what a client would be told now of the repository as a whole; nobody is asked."""
        view = self._guarded.get(route.upstream)
        if view is None:
            return Belief.OPEN
        known = await self._cache.get(_key(route))
        if known is not None:
            return Belief.PRIVATE if known == _PRIVATE else Belief.OPEN
        seen = await self._sightings.public(route)
        age = None if seen is None else self._clock() - seen.at
        return by_age(age, view.auth_ttl.total_seconds(), self._stale_seconds)

    async def _learn(
        self, view: View, route: Route, kind: Kind, reference: Reference | None
    ) -> Refused | UpstreamUnavailable | None:
        """Return None if the repository is public, else what is the matter with what was asked for.

        Raises what is the matter with the repository, or its registry.
        """
        seen = await self._sightings.public(route)
        if await self._remembered(view, route, seen):
            return None
        if seen is not None and self._clock() - seen.at < view.auth_ttl.total_seconds() + self._stale_seconds:
            if await self._see_again(view, route, seen):
                return None
            await self._sightings.forget_public(route)
        return await self._see(view, route, kind, reference)

    async def _remembered(self, view: View, route: Route, seen: Sighting | None) -> bool:
        known = await self._cache.get(_key(route))
        if known == _PRIVATE:
            error = NotPublic(_NOT_PUBLIC)
            error.remembered = True
            raise error
        if known == _PUBLIC:
            return True
        age = -1.0 if seen is None else self._clock() - seen.at
        rest = view.auth_ttl.total_seconds() - age
        if age < 0 or rest <= 0:
            return False
        await self._cache.set(_key(route), _PUBLIC, rest)
        return True

    async def _see_again(self, view: View, route: Route, seen: Sighting) -> bool:
        """Return whether what was public is there still; what cannot be asked about counts as public for a moment."""
        try:
            await self._look(view, route, seen.kind, seen.reference)
        except Denied:
            raise
        except Refused:
            self._tell(route, "missing")
            return self._keeps_deleted and await self._shows_anything(view, route)
        except UpstreamUnavailable:
            self._tell(route, "untold")
            await self._cache.set(_key(route), _PUBLIC, UNAVAILABLE_SECONDS)
        return True

    async def _shows_anything(self, view: View, route: Route) -> bool:
        """Return whether anybody can read something of the repository: what is gone was deleted then, not closed."""
        try:
            await self._look(view, route, Kind.TAGS, None)
        except Denied:
            raise
        except (Refused, UpstreamUnavailable):
            return False
        return True

    async def _see(
        self, view: View, route: Route, kind: Kind, reference: Reference | None
    ) -> Refused | UpstreamUnavailable | None:
        try:
            await self._failures.recall(Kind.OTHER, route, None)
            await self._failures.recall(kind, route, reference)
            await self._look(view, route, kind, reference)
        except Denied:
            raise
        except (Refused, UpstreamUnavailable) as error:
            if error.remembered:
                return error
            problem = _problem(error)
            is_own = isinstance(error, (Refused, *_OF_THE_QUESTION))
            self._tell(route, "missing" if isinstance(error, Refused) else "untold")
            await self._failures.remember(*((kind, route, reference) if is_own else (Kind.OTHER, route, None)), problem)
            if is_own:
                return problem
            raise problem from error
        return None

    async def _look(self, view: View, route: Route, kind: Kind, reference: Reference | None) -> None:
        """Ask, and note a yes, or a no to the repository; raises NotPublic for the latter."""
        asked_at = self._clock()
        try:
            async with answer_within(TELL_WITHIN):
                await view.anybody.look(route.repository, kind, reference)
        except Denied:
            await self._sightings.forget_public(route)
            await self._cache.set(_key(route), _PRIVATE, view.auth_ttl.total_seconds())
            self._tell(route, "private")
            raise NotPublic(_NOT_PUBLIC) from None
        await self._sightings.put_public(route, Sighting(asked_at, kind, reference))
        await self._cache.set(_key(route), _PUBLIC, view.auth_ttl.total_seconds())
        self._tell(route, "public")

    def _tell(self, route: Route, outcome: str) -> None:
        self._observer.notify(VisibilityAsked(route.upstream, outcome))


def _problem(error: Refused | UpstreamUnavailable) -> Refused | UpstreamUnavailable:
    """Return what a client is told: a 404 as a 404, whether it hides something or not."""
    if isinstance(error, Refused):
        return type(error)(f"{error}, as far as anybody may see (serve_private: nobody)")
    untold = type(error)(f"whether this repository is public cannot be told: {error}")
    untold.retry_after = error.retry_after
    return untold


def _key(route: Route) -> str:
    return f"visibility {route}"
