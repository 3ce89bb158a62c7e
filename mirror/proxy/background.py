"""Look-ups that nobody waits for: what is cached has been served meanwhile (RFC 5861's stale-while-revalidate)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from mirror.errors import LimitReached, PullSaved, StoreFailed, UpstreamUnavailable
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.upstreams import RevalidationFailed
from mirror.proxy.single_flight import SingleFlight

MOST_AT_ONCE = 32
"""How many there are at a time; what is not begun is begun with a later request."""

T = TypeVar("T")


class Background(Generic[T]):
    """Begins flights for nobody in particular: one a key, and few in all. Of those that fail, the observer is told."""

    def __init__(self, flights: SingleFlight[T], observer: Observer) -> None:
        self._flights = flights
        self._observer = observer
        self._under_way = 0

    def begin(self, key: Hashable, upstream: str, what: str, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Begin the flight under `key`, which asks about `what`, unless it is under way, or too many are."""
        if self._under_way >= MOST_AT_ONCE:
            return
        flight = self._flights.begin(key, work)
        if flight is not None:
            self._under_way += 1
            flight.add_done_callback(functools.partial(self._ended, upstream, what))

    def _ended(self, upstream: str, what: str, flight: asyncio.Task[T]) -> None:
        self._under_way -= 1
        error = None if flight.cancelled() else flight.exception()
        match error:
            case UpstreamUnavailable(remembered=True) | LimitReached() | PullSaved():
                # Told when it was heard; and of a limit it is said once what has become of it, not for each tag.
                pass
            case UpstreamUnavailable() | StoreFailed():
                # What upstream refuses is an answer.
                self._observer.notify(RevalidationFailed(upstream, what, error))
