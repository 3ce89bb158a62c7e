"""Eviction: what goes, and in which order. What is being read stays, and what pins hold.

For room, blobs go before manifests, the least recently used first; for age, whatever has not been used for so long
while a mirror ran.
"""

from __future__ import annotations

from collections.abc import Iterable

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.store import Evicted
from mirror.proxy.events.troubles import StoreTroubled
from mirror.store.committed import Committed
from mirror.store.entries import IndexEntry
from mirror.store.held import Held
from mirror.store.index import Index
from mirror.store.watch import StoredWatch


class Eviction:
    """Removes committed files, one at a time."""

    def __init__(self, committed: Committed, index: Index, held: Held, watch: StoredWatch, observer: Observer) -> None:
        self._committed = committed
        self._index = index
        self._held = held
        self._watch = watch
        self._observer = observer

    async def prepare(self) -> None:
        """Learn what must not go, and what time counts; where that cannot be told, what was known before counts."""
        for doing, learn in (
            ("note that a mirror runs", self._watch.keep),
            ("look at what is pinned", self._held.refresh),
        ):
            try:
                await learn()
            except StoreFailed as error:
                self._observer.notify(StoreTroubled(doing, error))

    def absent(self, since: float) -> float:
        """Return for how many seconds after `since`, which do not count as age, no mirror ran."""
        return self._watch.absent(since)

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
        """Tell whether there is anything to go that has not been used for so long while a mirror ran."""
        return self._first(self._index.unused(seconds, self._watch.absent)) is not None

    async def evict_aged(self, seconds: float) -> None:
        """Evict what has not been used for so long while a mirror ran."""
        for digest, entry in self._index.unused(seconds, self._watch.absent):
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
