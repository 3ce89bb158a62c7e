"""What keeps a fill that was begun ahead of its clients: upstream has begun to answer, and is read once somebody comes.

Until then it costs a connection, and what fits into its buffers: nothing of it is on disk, and no room is reserved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

HOLD_SECONDS = 10.0
"""How long a fill waits for somebody to come; engines that pull ask for the first blobs at once."""

_POLL_SECONDS = 0.1
# How soon it is seen that another process has a client for it.


class Unclaimed(Exception):
    """Nobody came for what was begun; no error, and told to nobody."""


class Hold:
    """Holds one fill; `claimed` is called when the first of those who want it comes."""

    def __init__(self, claimed: Callable[[], None]) -> None:
        self._tell = claimed
        self._is_dropped = False
        self._moved = asyncio.Event()
        self.is_claimed = False
        """True once somebody wants the blob."""
        self.is_held = True
        """True until the fill may go on."""

    def claim(self) -> None:
        """Somebody wants the blob."""
        if not self.is_claimed:
            self.is_claimed = True
            self.release()
            self._tell()

    def release(self) -> None:
        """Let the fill go on: somebody is about to come."""
        self.is_held = False
        self._moved.set()

    def drop(self) -> None:
        """Nobody is waited for any more."""
        self._is_dropped = True
        self._moved.set()

    async def passed(self, is_wanted: Callable[[], Awaitable[bool]]) -> None:
        """Wait until the fill may go on; raises Unclaimed if that does not come to be.

        `is_wanted` tells whether a client of another process waits for it.
        """
        until = _now() + HOLD_SECONDS
        while self.is_held:
            if self._is_dropped or _now() >= until:
                raise Unclaimed
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._moved.wait()
                continue
            if await is_wanted():
                self.claim()


def _now() -> float:
    return asyncio.get_running_loop().time()
