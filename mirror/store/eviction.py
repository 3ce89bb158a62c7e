"""Eviction: what goes, and in which order. What is being read stays, and what pins hold.

For room, blobs go before manifests, the least recently used first; for age, whatever has not been used for so long.
"""

from __future__ import annotations

from collections.abc import Iterable

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events import Evicted, Observer, StoreTroubled
from mirror.store.committed import Committed
from mirror.store.held import Held
from mirror.store.index import Index, IndexEntry


class Eviction:
    """Removes committed files, one at a time."""

    def __init__(self, committed: Committed, index: Index, held: Held, observer: Observer) -> None:
        self._committed = committed
        self._index = index
        self._held = held
        self._observer = observer

    async def prepare(self) -> None:
        """Learn what must not go; where that cannot be told, what was known before counts."""
        try:
            await self._held.refresh()
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("look at what is pinned", error))

    @property
    def held(self) -> int:
        """Bytes on disk of what pins hold."""
        return self._held.size

    async def make(self, size: int, reason: str) -> bool:
        """Evict files of `size` bytes together; False if that many cannot go."""
        while size > 0:
            victim = self._first(self._index.first_to_go())
            if victim is None or not await self._evict(*victim, reason):
                return False
            size -= victim[1].size
        return True

    def aged(self, seconds: float) -> bool:
        """Tell whether there is anything to go that has not been used for so long."""
        return self._first(self._index.unused(seconds)) is not None

    async def evict_aged(self, seconds: float) -> None:
        """Evict what has not been used for so long."""
        for digest, entry in self._index.unused(seconds):
            # Used since, or read by somebody.
            if (
                self._index.get(digest) is entry
                and self._may_go(digest)
                and not await self._evict(digest, entry, "age")
            ):
                return

    def _first(self, entries: Iterable[tuple[Digest, IndexEntry]]) -> tuple[Digest, IndexEntry] | None:
        return next(((digest, entry) for digest, entry in entries if self._may_go(digest)), None)

    def _may_go(self, digest: Digest) -> bool:
        return not self._committed.is_leased(digest) and digest not in self._held

    async def _evict(self, digest: Digest, entry: IndexEntry, reason: str) -> bool:
        unused = self._index.age(entry)
        try:
            await self._committed.remove(digest)
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("eviction", error))
            return False
        self._observer.notify(Evicted(digest, entry.size, reason, unused))
        return True
