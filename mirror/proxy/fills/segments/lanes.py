"""What all blobs that are fetched in parts share: how many connections there may be, and what is known beforehand."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable

from mirror.oci.digest import Digest
from mirror.proxy.events.fills import InParts, Parts
from mirror.proxy.events.observer import Observer
from mirror.proxy.fills.segments.width import FAST
from mirror.proxy.fills.turns import Turns

LARGE = 8 * 1024 * 1024
"""A blob of fewer bytes is fetched by one connection."""

MOST_BYTES = 64 * 1024 * 1024
"""Bytes that may wait in memory for those before them, of all blobs."""

MOST_EXPECTED = 10_000
"""Blobs whose lengths are remembered from their manifests."""

BELIEVED_SECONDS = 600.0
"""How long it holds for all blobs of an upstream what one of them has shown."""


class Lanes:
    """Further connections: each takes a turn that nobody waits for, and room for what it brings."""

    def __init__(self, turns: Turns, observer: Observer) -> None:
        self._observer = observer
        self._turns = turns
        self._taken: dict[Hashable, int] = {}
        self._sizes: dict[Digest, int] = {}
        self._seen: dict[str, tuple[float, float]] = {}

    def expect(self, digest: Digest, size: int) -> None:
        """A manifest says that this blob has so many bytes."""
        if size >= LARGE:
            self._sizes[digest] = size
            if len(self._sizes) > MOST_EXPECTED:
                del self._sizes[next(iter(self._sizes))]

    def pay(self, upstream: str, digest: Digest) -> bool:
        """Tell whether the blob is known to be large, and the upstream not to be such that it makes no difference."""
        return digest in self._sizes and (self.rate(upstream) or 0.0) < FAST

    def rate(self, upstream: str) -> float | None:
        """Return the bytes a second that one connection brings (see Width), None where nobody has seen it lately."""
        until, rate = self._seen.get(upstream, (0.0, None))
        return rate if _now() < until else None

    def saw(self, upstream: str, rate: float) -> None:
        """A blob has shown how many bytes a second one connection brings; the most that was seen is believed."""
        self._seen[upstream] = _now() + BELIEVED_SECONDS, max(rate, self.rate(upstream) or 0.0)

    def rest(self, upstream: str) -> None:
        """One connection a blob is all that the upstream wants, or gives."""
        if self.rate(upstream) != math.inf:
            self._observer.notify(InParts(upstream, Parts.REFUSED))
        self.saw(upstream, math.inf)

    async def take(self, upstream: str, holder: Hashable, size: int) -> bool:
        """Give `holder` a connection, and room for so many bytes, if both are to spare; `leave` is to follow."""
        if sum(self._taken.values()) + size > MOST_BYTES or not await self._turns.take_spare(upstream, holder):
            return False
        self._taken[holder] = size
        self._observer.notify(InParts(upstream, Parts.BEGUN))
        return True

    def leave(self, holder: Hashable) -> None:
        """Give both back, if `holder` has them."""
        if self._taken.pop(holder, None) is not None:
            self._turns.leave(holder)


def _now() -> float:
    return asyncio.get_running_loop().time()
