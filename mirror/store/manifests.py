"""Manifests at rest: small blobs with a media type, read whole and verified, the hot ones kept in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cachetools import LRUCache

from mirror.oci.children import children_of
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import MAX_MANIFEST
from mirror.store.blobs import Blobs
from mirror.store.index import Index
from mirror.store.reading import StoredBlob
from mirror.store.records import StoredRecords
from mirror.store.threads import Threads

_HOT_BYTES = 64 * 1024 * 1024
_OVERHEAD = 1024
_CHILD = 256
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
    """Manifests by digest (see interfaces.ManifestStore)."""

    def __init__(self, blobs: Blobs, index: Index, records: StoredRecords, threads: Threads) -> None:
        self._blobs = blobs
        self._index = index
        self._records = records
        self._threads = threads
        self._hot: LRUCache[Digest, _Hot] = LRUCache(_HOT_BYTES, lambda hot: hot.size)

    async def get(self, digest: Digest) -> Manifest | None:
        """Return the manifest if its file, its right bytes and its media type are there."""
        hot = self._hot.get(digest)
        if hot is not None and digest in self._index:
            self._renew(hot)
            return hot.manifest
        blob = await self._blobs.open(digest)
        if blob is None:
            return None
        try:
            manifest = await self._load(digest, blob)
        finally:
            blob.close()
        if manifest is not None:
            await self._warm(self._hot[digest].children)
            self._renew(self._hot[digest])
        return manifest

    def _renew(self, hot: _Hot) -> None:
        """Note that everything the image holds was used: clients skip what they have, so hits on it say little."""
        for child in hot.children:
            if inner := self._hot.get(child):
                self._renew(inner)
            self._index.touch(child)
        self._index.touch(hot.manifest.digest)

    async def _warm(self, children: tuple[Digest, ...]) -> None:
        """Bring the manifests of an index into memory, so that a hit on it renews their layers too."""
        for child in children:
            entry = self._index.get(child)
            if entry is not None and entry.is_manifest:
                await self.get(child)

    async def _load(self, digest: Digest, blob: StoredBlob) -> Manifest | None:
        media_type = await self._records.media_type(digest)
        if media_type is None or blob.size > MAX_MANIFEST:
            return None
        data = await self._threads.run(os.pread, blob.fileno(), blob.size, 0)
        if not digest.verifies(data):
            await self._blobs.remove(digest)
            return None
        manifest = Manifest(digest, media_type, data)
        self._keep_hot(manifest)
        return manifest

    def _keep_hot(self, manifest: Manifest) -> None:
        self._hot[manifest.digest] = _Hot(manifest, children_of(manifest.data))

    async def put(self, manifest: Manifest) -> None:
        """Keep the manifest, unless the whole cache is smaller than it is."""
        if not self._blobs.admits(len(manifest.data)):
            return
        partial = await self._blobs.begin(manifest.digest, is_manifest=True)
        try:
            await partial.append(manifest.data)
            await partial.commit()
        except BaseException:
            await partial.discard()
            raise
        finally:
            await partial.close()
        await self._records.put_media_type(manifest.digest, manifest.media_type)
        self._keep_hot(manifest)
