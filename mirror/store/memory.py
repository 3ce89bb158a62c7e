"""Short-lived, small things in memory: tokens and failed look-ups; the only user of aiocache."""

from __future__ import annotations

from aiocache import SimpleMemoryCache

_ENTRIES = 10_000
_CHARACTERS = 32 * 1024 * 1024


class BoundedMemory(SimpleMemoryCache):  # type: ignore[misc]  # aiocache has no types
    """aiocache's memory backend, which has no bound of its own, with two (see ShortLivedCache).

    So many entries, and so many characters of all keys and values; the entry that was set first makes room. aiocache
    keeps for ever what has no time to live, so what would live no time at all is not kept.
    """

    def __init__(self, entries: int = _ENTRIES, characters: int = _CHARACTERS) -> None:
        super().__init__(timeout=0)
        self._entries = entries
        self._characters = characters
        self._cache = _Measured()

    async def set(self, key: str, value: str, seconds: float) -> None:
        """Remember `value` for so long; not at all if `seconds` is not positive."""
        await self.delete(key)
        left = self._characters - len(key) - len(value)
        if seconds <= 0 or left < 0:
            return
        while len(self._cache) >= self._entries or self._cache.characters > left:
            await self.delete(next(iter(self._cache)))
        await super().set(key, value, ttl=seconds)

    def at_hand(self, key: str) -> str | None:
        """Return the value while it lives; nothing has to be waited for here."""
        return self._cache.get(key)

    async def close(self) -> None:
        """Forget everything, timers included."""
        for key in list(self._cache):
            await self.delete(key)
        await super().close()


class _Measured(dict[str, str]):
    """Knows how long its keys and values are together; changed only in the ways in which aiocache does it."""

    characters = 0

    def __setitem__(self, key: str, value: str) -> None:
        self.pop(key, None)
        self.characters += len(key) + len(value)
        super().__setitem__(key, value)

    def pop(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]  # one default will do
        """Remove the entry, also when its time is over."""
        value = super().pop(key, default)
        if value is not None:
            self.characters -= len(key) + len(value)
        return value
