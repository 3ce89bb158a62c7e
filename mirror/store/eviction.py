"""Eviction: when the cache is over its limit, the least recently used files go, one at a time."""

from __future__ import annotations

import asyncio

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events import CacheResized, Evicted, Observer, StoreTroubled
from mirror.store.blobs import Blobs
from mirror.store.index import Index


class Eviction:
    """Keeps the cache within `max_size` bytes; what is being read stays."""

    def __init__(self, blobs: Blobs, index: Index, max_size: int, observer: Observer) -> None:
        self._blobs = blobs
        self._index = index
        self._max_size = max_size
        self._observer = observer
        self._one_at_a_time = asyncio.Lock()

    async def make_room(self) -> None:
        """Evict until the files fit, or only files that are being read are left."""
        async with self._one_at_a_time:
            while self._index.size > self._max_size and (victim := self._victim()):
                if not await self._evict(*victim):
                    break
        self._observer.notify(
            CacheResized(self._index.size, self._index.manifests, len(self._index) - self._index.manifests)
        )

    def _victim(self) -> tuple[Digest, int] | None:
        for digest, entry in self._index.first_to_go():
            if not self._blobs.is_leased(digest):
                return digest, entry.size
        return None

    async def _evict(self, digest: Digest, size: int) -> bool:
        try:
            await self._blobs.remove(digest)
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("eviction", error))
            return False
        self._observer.notify(Evicted(digest, size))
        return True
