"""Manifests at rest: small blobs with a media type, read whole and verified, the hot ones kept in memory."""

from __future__ import annotations

import os

from cachetools import LRUCache

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
# What an entry costs in memory beside its bytes, generously.


class StoredManifests:
    """Manifests by digest (see interfaces.ManifestStore)."""

    def __init__(self, blobs: Blobs, index: Index, records: StoredRecords, threads: Threads) -> None:
        self._blobs = blobs
        self._index = index
        self._records = records
        self._threads = threads
        self._hot: LRUCache[Digest, Manifest] = LRUCache(_HOT_BYTES, lambda manifest: len(manifest.data) + _OVERHEAD)

    async def get(self, digest: Digest) -> Manifest | None:
        """Return the manifest if its file, its right bytes and its media type are there."""
        hot = self._hot.get(digest)
        if hot is not None and digest in self._index:
            self._index.touch(digest)
            return hot
        blob = await self._blobs.open(digest)
        if blob is None:
            return None
        try:
            return await self._load(digest, blob)
        finally:
            blob.close()

    async def _load(self, digest: Digest, blob: StoredBlob) -> Manifest | None:
        media_type = await self._records.media_type(digest)
        if media_type is None or blob.size > MAX_MANIFEST:
            return None
        data = await self._threads.run(os.pread, blob.fileno(), blob.size, 0)
        if not digest.verifies(data):
            await self._blobs.remove(digest)
            return None
        manifest = Manifest(digest, media_type, data)
        self._hot[digest] = manifest
        return manifest

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
        self._hot[manifest.digest] = manifest
