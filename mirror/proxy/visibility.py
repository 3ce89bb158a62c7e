"""Visibility: what only the mirror's credentials can read is served to nobody, whatever is cached or granted.

With `serve_private: nobody`, a repository is served while anybody may read it upstream. Its registry is asked without
credentials for the very thing a client asked for, and "public" is believed of the whole repository for a while. An
outage lets "public" go stale, like a tag; only upstream's explicit no withdraws it. "Private" never goes stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from mirror.errors import Denied, NotPublic, Refused, UpstreamThrottled, UpstreamUnavailable
from mirror.oci.reference import Reference, Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import answer_within
from mirror.proxy.events import Observer, VisibilityAsked
from mirror.proxy.failures import UNAVAILABLE_SECONDS, Failures
from mirror.proxy.interfaces import Clock, ShortLivedCache
from mirror.proxy.routing import Route
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks

TELL_WITHIN = 4.0
"""Seconds upstream has to tell, and again to tell why it did not: a little less than who waits for it has."""

WAIT_WITHIN = 5.0
"""Seconds a request waits for that: what is left of 25 beside the time that upstream has for the content."""

_PUBLIC = "public"
_PRIVATE = "private"
_NOT_PUBLIC = "this repository is not public, and the mirror serves private content to nobody (serve_private)"


class Viewer(Protocol):
    """A registry as one of its clients sees it: anybody, or the mirror with its credentials."""

    async def look(self, repository: Repository, kind: Kind, reference: Reference | None) -> None:
        """Return if this client may read it; the reference is None for the tags of the repository.

        Raises Refused for the registry's own no, UpstreamUnavailable where it did not say.
        """


@dataclass(frozen=True, slots=True)
class Views:
    """An upstream seen by anybody and by the mirror, and for how long "public" and "private" are believed."""

    anybody: Viewer
    mirror: Viewer
    auth_ttl: timedelta


class Sightings(Protocol):
    """What outlives the process: which repositories were public when, and whose content credentials have opened."""

    async def public_at(self, route: Route) -> float | None:
        """Return when the repository was last seen to be public (epoch seconds), None if never, or not since."""

    async def put_public(self, route: Route, at: float) -> None:
        """Note that it was public then."""

    async def forget_public(self, route: Route) -> None:
        """It is not, or may not be."""

    async def credentialed(self, upstream: str) -> bool:
        """Tell whether the cache may hold what credentials have opened; True where that cannot be told."""

    async def put_credentialed(self, upstream: str) -> None:
        """Note that from now on it may."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Where answers are remembered: for a while, and for outages of up to `stale_if_error`."""

    sightings: Sightings
    cache: ShortLivedCache
    failures: Failures
    stale_if_error: timedelta
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Question:
    route: Route
    kind: Kind
    reference: Reference | None


class Visibility:
    """Decides whether clients may have anything of a repository, before anything else of it is looked at.

    `views` are of the upstreams that serve private content to nobody; others are not asked about.
    """

    def __init__(self, views: Mapping[str, Views], memory: Memory, tasks: Tasks, observer: Observer) -> None:
        self._views = views
        self._sightings = memory.sightings
        self._cache = memory.cache
        self._failures = memory.failures
        self._stale_seconds = memory.stale_if_error.total_seconds()
        self._clock = memory.clock
        self._observer = observer
        self._guarded: dict[str, Views] = {}
        self._flights = SingleFlight[Refused | None](tasks)

    async def guard(self, credentialed: Iterable[str]) -> None:
        """Begin to guard upstreams: those that have credentials now, and those that had when the cache was filled."""
        for upstream in credentialed:
            await self._sightings.put_credentialed(upstream)
        self._guarded = {
            upstream: views for upstream, views in self._views.items() if await self._sightings.credentialed(upstream)
        }

    async def check(self, route: Route, kind: Kind, reference: Reference | None) -> None:
        """Return if anybody may read the repository.

        Raises NotPublic if not, another Refused if upstream tells anybody that there is no such thing, and
        UpstreamUnavailable if it cannot be told.
        """
        views = self._guarded.get(route.upstream)
        if views is None or await self._cache.get(_key(route)) == _PUBLIC:
            return
        question = _Question(route, kind, reference)
        async with answer_within(WAIT_WITHIN):
            while True:
                missing, joined = await self._flights.run(route, lambda: self._learn(views, question))
                if missing is None:
                    return
                if not joined:
                    raise missing
                # What another request asked for is missing, which says nothing about this one.

    async def _learn(self, views: Views, question: _Question) -> Refused | None:
        """Return None if the repository is public; what was asked for may be missing instead, which tells nothing."""
        route = question.route
        if await self._remembered(views, route):
            return None
        try:
            await self._failures.recall(question.kind, route, question.reference)
        except Refused as missing:
            return missing
        asked_at = self._clock()
        try:
            await self._failures.recall(Kind.OTHER, route, None)
            async with answer_within(TELL_WITHIN):
                await views.anybody.look(route.repository, question.kind, question.reference)
        except Denied:
            await self._withdraw(route)
            await self._cache.set(_key(route), _PRIVATE, views.auth_ttl.total_seconds())
            self._observer.notify(VisibilityAsked(route.upstream, "private"))
            raise NotPublic(_NOT_PUBLIC) from None
        except Refused as missing:
            return await self._missing(views, question, missing)
        except UpstreamUnavailable as error:
            await self._outlast(views, route, error)
            return None
        await self._sightings.put_public(route, asked_at)
        await self._cache.set(_key(route), _PUBLIC, views.auth_ttl.total_seconds())
        self._observer.notify(VisibilityAsked(route.upstream, "public"))
        return None

    async def _remembered(self, views: Views, route: Route) -> bool:
        known = await self._cache.get(_key(route))
        if known == _PRIVATE:
            error = NotPublic(_NOT_PUBLIC)
            error.remembered = True
            raise error
        if known == _PUBLIC:
            return True
        seen_at = await self._sightings.public_at(route)
        age = -1.0 if seen_at is None else self._clock() - seen_at
        rest = views.auth_ttl.total_seconds() - age
        if age < 0 or rest <= 0:
            return False
        await self._cache.set(_key(route), _PUBLIC, rest)
        return True

    async def _missing(self, views: Views, question: _Question, error: Refused) -> Refused:
        """Upstream tells anybody that there is no such thing; so is the client told, whether it is hidden or not."""
        missing = type(error)(f"{error}, as far as anybody may see (serve_private: nobody)")
        hidden = await self._is_hidden(views, question)
        if hidden:
            await self._withdraw(question.route)
        self._observer.notify(VisibilityAsked(question.route.upstream, "private" if hidden else "missing"))
        await self._failures.remember(question.kind, question.route, question.reference, missing)
        return missing

    async def _is_hidden(self, views: Views, question: _Question) -> bool:
        """Tell whether the mirror sees, or might see, what anybody is told is missing: registries hide by a 404."""
        try:
            async with answer_within(TELL_WITHIN):
                await views.mirror.look(question.route.repository, question.kind, question.reference)
        except Refused as error:
            return isinstance(error, Denied)
        except UpstreamUnavailable:
            return True
        return True

    async def _withdraw(self, route: Route) -> None:
        await self._cache.delete(_key(route))
        await self._sightings.forget_public(route)

    async def _outlast(self, views: Views, route: Route, error: UpstreamUnavailable) -> None:
        """Return if the repository was public lately enough to be served while upstream cannot be asked."""
        if not error.remembered:
            self._observer.notify(VisibilityAsked(route.upstream, "untold"))
        seen_at = await self._sightings.public_at(route)
        limit = views.auth_ttl.total_seconds() + self._stale_seconds
        if seen_at is not None and self._clock() - seen_at < limit:
            await self._cache.set(_key(route), _PUBLIC, UNAVAILABLE_SECONDS)
            return
        if error.remembered:
            raise error
        untold = type(error)(f"whether this repository is public cannot be told: {error}")
        if isinstance(untold, UpstreamThrottled) and isinstance(error, UpstreamThrottled):
            untold.retry_after = error.retry_after
        await self._failures.remember(Kind.OTHER, route, None, untold)
        raise untold from error


def _key(route: Route) -> str:
    return f"visibility {route}"
