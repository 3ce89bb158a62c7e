"""How many fills are at work at a time.

Each has a connection and files open, and outlives the client that caused it: no limit on clients is one on fills.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Mapping

from mirror.errors import Busy

MOST_AT_ONCE = 64
"""Fills from one upstream without a limit of its own; what one of them is slow with keeps nobody from the others."""

MOST_WAITING = 1000
"""Fills that wait for their turn, of all upstreams together."""

TURN_WITHIN = 10.0
"""Seconds a fill waits for its turn; upstream has the rest of the time that a client waits for an answer."""


class Turns:
    """A turn for each fill at work; the others wait, in the order in which they came.

    `limits` are of upstreams that have one of their own.
    """

    def __init__(self, limits: Mapping[str, int] | None = None) -> None:
        self._free: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MOST_AT_ONCE))
        self._limits = dict(limits or {})
        self._free |= {upstream: asyncio.Semaphore(limit) for upstream, limit in self._limits.items()}
        self._taken: dict[Hashable, asyncio.Semaphore] = {}
        self._waiting = 0

    async def take(self, upstream: str, holder: Hashable) -> None:
        """Wait for the turn of `holder`, who has it until `leave`; raises Busy if it does not come soon."""
        free = self._free[upstream]
        if free.locked() and self._waiting >= MOST_WAITING:
            raise Busy("too much waits to be fetched already")
        self._waiting += 1
        try:
            async with asyncio.timeout(TURN_WITHIN):
                await free.acquire()
        except TimeoutError:
            raise Busy("as much is being fetched from this upstream as may be at a time") from None
        finally:
            self._waiting -= 1
        self._taken[holder] = free

    async def take_spare(self, upstream: str, holder: Hashable) -> bool:
        """Give `holder` a turn at once, if less than half of them are taken; for what nobody waits for yet."""
        free = self._free[upstream]
        taken = sum(other is free for other in self._taken.values())
        if free.locked() or 2 * (taken + 1) > self._limits.get(upstream, MOST_AT_ONCE):
            return False
        await free.acquire()
        self._taken[holder] = free
        return True

    def leave(self, holder: Hashable) -> None:
        """Give the turn back, if `holder` has one."""
        free = self._taken.pop(holder, None)
        if free is not None:
            free.release()
