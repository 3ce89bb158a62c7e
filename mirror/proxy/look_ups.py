"""Look-ups that clients wait for, and others that nobody does: one at a time for whatever is asked about."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, Protocol, Self, TypeVar

from mirror.proxy.background import Background
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.proxy.deadline import ANSWER_WITHIN, answer_within
from mirror.proxy.events.observer import Observer
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks


class Pulled(Protocol):
    """What a look-up brings."""

    @property
    def status(self) -> CacheStatus:
        """What the cache did for it."""

    def with_status(self, status: CacheStatus) -> Self:
        """Return the same, for which the cache did something else."""


T = TypeVar("T", bound=Pulled)

LookUp = Callable[[], Coroutine[Any, Any, T]]


class LookUps(Generic[T]):
    """Flights, each of which brings the same to everybody who asks meanwhile."""

    def __init__(self, tasks: Tasks, observer: Observer) -> None:
        self._flights = SingleFlight[T](tasks)
        self._background = Background(self._flights, observer)

    async def join(self, key: Hashable, look_up: LookUp[T], seconds: float = ANSWER_WITHIN) -> T:
        """Return what the flight under `key` brings, which `look_up` is if there is none; waits for so long.

        Raises what the flight raised, and UpstreamTimeout, after which it goes on.
        """
        async with answer_within(seconds):
            pulled, joined = await self._flights.run(key, look_up)
        if joined and pulled.status.outcome is Outcome.MISS:
            return pulled.with_status(CacheStatus(Outcome.COLLAPSED))
        return pulled

    def begin(self, key: Hashable, upstream: str, what: str, look_up: LookUp[T]) -> None:
        """Begin a flight that nobody waits for, about `what`, if there is none, and few such are under way."""
        self._background.begin(key, upstream, what, look_up)
