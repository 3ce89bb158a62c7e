"""A manifest ready to be sent, the flights that bring one to everybody who asks for it, and what it is pulled into."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from mirror.errors import UpstreamUnavailable
from mirror.oci.descriptor import Manifest
from mirror.oci.reference import Reference, Tag, Variant
from mirror.proxy.background import Background
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.proxy.deadline import ANSWER_WITHIN, answer_within
from mirror.proxy.events.observer import Observer
from mirror.proxy.failures import Failures
from mirror.proxy.freshness import FreshnessPolicy
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.interfaces.store import ManifestStore, Records
from mirror.proxy.rate_limit import Governor, Unlimited
from mirror.proxy.routing import Route
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks


@dataclass(frozen=True, slots=True)
class PulledManifest:
    """A manifest ready to be sent.

    `age` is in seconds since upstream vouched for the tag, None for a digest; `trouble` is why a tag is stale.
    """

    manifest: Manifest
    status: CacheStatus
    age: int | None = None
    trouble: UpstreamUnavailable | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What manifests are pulled into and from."""

    manifests: ManifestStore
    records: Records
    failures: Failures
    policy: FreshnessPolicy
    clock: Clock
    governor: Governor = Unlimited()  # noqa: RUF009  # it has no state


LookUp = Callable[[], Coroutine[Any, Any, PulledManifest]]


class ManifestFlights:
    """Look-ups of manifests, one at a time for a reference of a repository."""

    def __init__(self, tasks: Tasks, observer: Observer) -> None:
        self._flights = SingleFlight[PulledManifest](tasks)
        self._background = Background(self._flights, observer)

    async def join(
        self, route: Route, reference: Reference, look_up: LookUp, seconds: float = ANSWER_WITHIN
    ) -> PulledManifest:
        """Return what the flight brings, which `look_up` is if there is none; waits for so long.

        Raises what the flight raised, and UpstreamTimeout, after which it goes on.
        """
        async with answer_within(seconds):
            pulled, joined = await self._flights.run((route, reference), look_up)
        if joined and pulled.status.outcome is Outcome.MISS:
            return replace(pulled, status=CacheStatus(Outcome.COLLAPSED))
        return pulled

    def begin(self, route: Route, reference: Tag | Variant, look_up: LookUp) -> None:
        """Begin a flight that nobody waits for, if there is none, and few such are under way."""
        self._background.begin((route, reference), route.upstream, f"{route}:{reference}", look_up)
