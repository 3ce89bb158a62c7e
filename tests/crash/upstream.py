"""An upstream in memory that can go on anywhere, and counts what it sends."""

from __future__ import annotations

import asyncio
from collections import Counter

from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.proxy.interfaces.upstream import WHOLE, Rest
from tests.crash.content import BLOBS, MANIFEST, PIECE


class CountingUpstream:
    """Has BLOBS and MANIFEST, whatever the repository; `sent` are the bytes of each blob that left it."""

    def __init__(self, pause: float = 0.0) -> None:
        self.sent: Counter[Digest] = Counter()
        self._pause = pause

    async def head_manifest(self, repository: Repository, reference: Reference) -> Descriptor | None:
        return Descriptor(MANIFEST.media_type, MANIFEST.digest, len(MANIFEST.data))

    async def get_manifest(self, repository: Repository, reference: Reference) -> Manifest:
        self.sent[MANIFEST.digest] += len(MANIFEST.data)
        return MANIFEST

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        return len(BLOBS[digest])

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest = WHOLE) -> Sending:
        return Sending(self, digest, rest.start, self._pause)


class Sending:
    """A transfer (see Transfer)."""

    validator = None

    def __init__(self, upstream: CountingUpstream, digest: Digest, start: int, pause: float) -> None:
        self._upstream = upstream
        self._digest = digest
        self._at = self.start = start
        self._pause = pause
        self.stop: int | None = None
        self.size = len(BLOBS[digest])

    async def read(self, most: int | None = None) -> bytes:
        await asyncio.sleep(self._pause)
        data = BLOBS[self._digest][self._at : self._at + min(PIECE, most or PIECE)]
        self._at += len(data)
        self._upstream.sent[self._digest] += len(data)
        return data

    def close(self) -> None:
        """There is no connection."""
