"""Single flight: one look-up a key at a time, shared by all who ask meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from mirror.proxy import chain
from mirror.proxy.tasks import Tasks, outcome_of

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs work under a key once; everyone who comes before it ends gets the same result or the same error.

    The work is a task of its own: the one who caused it may be cancelled without harm to the others. It should
    look into the cache again before it asks upstream, since an earlier flight may just have landed.

    Only who came through the same caches shares a flight: two mirrors that ask each other would wait for each other.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._flights: dict[Hashable, asyncio.Task[T]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Return the result of the flight under `key` and whether it was joined rather than started."""
        flight = self._under_way(key)
        return await outcome_of(flight or self._begun(key, work)), flight is not None

    def begin(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T] | None:
        """Start the flight under `key` without waiting for it, and return its task; None if one is under way."""
        return self._begun(key, work) if self._under_way(key) is None else None

    def _under_way(self, key: Hashable) -> asyncio.Task[T] | None:
        return self._flights.get((chain.came_through(), key))

    def _begun(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        flight = self._tasks.spawn(work(), name=f"flight {key}")
        own_key = (chain.came_through(), key)
        self._flights[own_key] = flight
        flight.add_done_callback(lambda _: self._flights.pop(own_key))
        return flight
