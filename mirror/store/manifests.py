"""Manifests at rest: small blobs with a media type, read whole and verified, the hot ones kept in memory."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from cachetools import LRUCache

from mirror.errors import StoreFailed
from mirror.oci.children import children_of
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import MAX_MANIFEST
from mirror.store.blobs import Blobs
from mirror.store.index import Index
from mirror.store.partial import Partial
from mirror.store.purges import Purges
from mirror.store.reading import StoredBlob
from mirror.store.records import StoredRecords
from mirror.store.threads import Threads

_POLL_SECONDS = 0.02
_TURN_SECONDS = 5.0
# Then the other process is taken for stopped, and both fetch it.

_HOT_BYTES = 64 * 1024 * 1024
_OVERHEAD = 1024
_CHILD = 256
_MOST_HELD = 10_000
# What an entry, and each digest it refers to, cost in memory beside the bytes, generously.


@dataclass(frozen=True, slots=True)
class _Hot:
    """A manifest in memory, and what it refers to."""

    manifest: Manifest
    children: tuple[Digest, ...]

    @property
    def size(self) -> int:
        """What it costs in memory, in bytes."""
        return len(self.manifest.data) + len(self.children) * _CHILD + _OVERHEAD


class StoredManifests:
    """Manifests by digest (see ManifestStore)."""

    def __init__(self, blobs: Blobs, index: Index, records: StoredRecords, purges: Purges, threads: Threads) -> None:
        self._blobs = blobs
        self._index = index
        self._records = records
        self._purges = purges
        self._threads = threads
        self._hot: LRUCache[Digest, _Hot] = LRUCache(_HOT_BYTES, lambda hot: hot.size)
        self._renewed: tuple[Digest | None, int] = (None, 0)
        purges.on_news(self._hot.clear)

    async def get(self, digest: Digest) -> Manifest | None:
        """Return the manifest if its file, its right bytes and its media type are there."""
        self._purges.heed()
        hot = self._hot.get(digest)
        if hot is None or digest not in self._index:
            hot = await self._read(digest)
            if hot is None:
                return None
            await self._warm(hot)
        self._renew(hot)
        return hot.manifest

    def at_hand(self, digest: Digest) -> Manifest | None:
        """Return the manifest, which is used now, if it is in memory and its file there."""
        self._purges.heed()
        hot = self._hot.get(digest)
        entry = self._index.get(digest)
        if hot is None or entry is None:
            return None
        # Where nothing else was used since, the order is right without it.
        if self._renewed != (digest, self._index.uses) or not self._index.is_just_used(entry):
            self._renew(hot)
        return hot.manifest

    def _renew(self, hot: _Hot) -> None:
        """Note that everything the image holds was used: clients skip what they have, so hits on it say little."""
        seen = {hot.manifest.digest}
        levels: list[list[Digest]] = [[hot.manifest.digest]]
        parents = [hot]
        while parents:
            children = dict.fromkeys(child for parent in parents for child in parent.children)
            level = [child for child in children if child not in seen]
            seen.update(level)
            levels.append(level)
            parents = [inner for child in level if (inner := self._hot.get(child))]
        for level in reversed(levels):
            for digest in level:
                self._index.touch(digest)
        self._renewed = (hot.manifest.digest, self._index.uses)

    async def _warm(self, hot: _Hot) -> None:
        """Bring the manifests of an index into memory, so that a hit on it renews their layers too."""
        pending = list(hot.children)
        for child in pending:
            entry = await self._index.find(child)
            if entry is None or not entry.is_manifest or child in self._hot or len(pending) > _MOST_HELD:
                continue
            with suppress(StoreFailed):
                if inner := await self._read(child):
                    pending += inner.children

    async def _read(self, digest: Digest) -> _Hot | None:
        purges = self._purges.seen
        blob = await self._blobs.open(digest)
        if blob is None:
            return None
        try:
            return await self._load(digest, blob, purges)
        finally:
            blob.close()

    async def _load(self, digest: Digest, blob: StoredBlob, purges: int) -> _Hot | None:
        media_type = await self._records.media_type(digest)
        if media_type is None or blob.size > MAX_MANIFEST:
            return None
        data = await self._threads.run(os.pread, blob.fileno(), blob.size, 0)
        if not digest.verifies(data):
            await self._blobs.remove(digest)
            return None
        return self._keep_hot(Manifest(digest, media_type, data), purges)

    def _keep_hot(self, manifest: Manifest, purges: int) -> _Hot:
        hot = _Hot(manifest, children_of(manifest.data))
        self._purges.heed()
        if self._purges.seen == purges:
            # Else it may be what was purged meanwhile.
            self._hot[manifest.digest] = hot
        return hot

    @asynccontextmanager
    async def turn(self, digest: Digest) -> AsyncIterator[None]:
        """Let one process at a time fetch a manifest; where the disk has no say in it, all of them may."""
        partial = None
        with suppress(StoreFailed):
            partial = await self._wait_for_turn(digest)
        try:
            yield
        finally:
            if partial is not None:
                await _end(partial)

    async def _wait_for_turn(self, digest: Digest) -> Partial | None:
        until = time.monotonic() + _TURN_SECONDS
        while True:
            partial = await self._blobs.turn(digest)
            if partial is not None or time.monotonic() >= until:
                return partial
            await asyncio.sleep(_POLL_SECONDS)

    async def put(self, manifest: Manifest) -> None:
        """Keep the manifest, unless the whole cache is smaller than it is."""
        if not self._blobs.admits(len(manifest.data)):
            return
        purges = self._purges.seen
        partial = await self._blobs.begin(manifest.digest)
        try:
            await partial.append(manifest.data)
            await partial.commit()
        except BaseException:
            await partial.discard()
            raise
        finally:
            await partial.close()
        await self._records.put_media_type(manifest.digest, manifest.media_type)
        self._keep_hot(manifest, purges)


async def _end(turn: Partial) -> None:
    try:
        with suppress(StoreFailed):
            await turn.discard()
    finally:
        # Also when time is up meanwhile.
        await turn.close()
