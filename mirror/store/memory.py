"""Short-lived, small things in memory: tokens and failed look-ups; the only user of aiocache."""

from __future__ import annotations

from aiocache import SimpleMemoryCache

_ENTRIES = 10_000


class BoundedMemory(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no types
    """aiocache's memory backend, which has no bound of its own, with one (see interfaces.ShortLivedCache).

    The entry that was set first makes room. aiocache keeps for ever what has no time to live, so what would
    live no time at all is not kept.
    """

    def __init__(self, entries: int = _ENTRIES) -> None:
        super().__init__(timeout=0)
        self._entries = entries

    async def set(self, key: str, value: str, seconds: float) -> None:
        """Remember `value` for so long; not at all if `seconds` is not positive."""
        await self.delete(key)
        if seconds <= 0:
            return
        while len(self._cache) >= self._entries:
            await self.delete(next(iter(self._cache)))
        await super().set(key, value, ttl=seconds)

    async def close(self) -> None:
        """Forget everything, timers included."""
        for key in list(self._cache):
            await self.delete(key)
        await super().close()
