"""How fast an upstream is: what one connection gets, and how far away it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

_WINDOW = 8 * 1024 * 1024
_STEPS = 50
"""How many pieces a second a rate is dealt out in."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`rate` is in bytes a second for each connection, None for no limit; `latency` in seconds for a round trip."""

    rate: float | None = None
    latency: float = 0.0

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the pieces that a body is sent in, as (offset, length)."""
        step = _WINDOW if self.rate is None else max(1, int(self.rate / _STEPS))
        return ((offset, min(step, stop - offset)) for offset in range(start, stop, step))

    async def earned(self, sent: int, began: float) -> None:
        """Wait until this many bytes may have been sent since `began`, by the loop's clock."""
        if self.rate is not None:
            await asyncio.sleep(began + sent / self.rate - asyncio.get_running_loop().time())

    async def round_trip(self) -> None:
        """Wait for a question to arrive and its answer to come back."""
        if self.latency:
            await asyncio.sleep(self.latency)
