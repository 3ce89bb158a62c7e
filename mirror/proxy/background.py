"""Look-ups that nobody waits for: what is cached has been served meanwhile (RFC 5861's stale-while-revalidate)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from mirror.proxy.single_flight import SingleFlight

MOST_AT_ONCE = 32
"""How many there are at a time; what is not begun is begun with a later request."""

T = TypeVar("T")


class Background(Generic[T]):
    """Begins flights for nobody in particular: one a key, and few in all."""

    def __init__(self, flights: SingleFlight[T]) -> None:
        self._flights = flights
        self._under_way = 0

    def begin(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Begin the flight under `key`, unless it is under way, or too many are."""
        if self._under_way >= MOST_AT_ONCE:
            return
        flight = self._flights.begin(key, work)
        if flight is not None:
            self._under_way += 1
            flight.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[T]) -> None:
        self._under_way -= 1
