"""Fetching again what was stored once, for a repository that may have it: what a scrub repairs with."""

from __future__ import annotations

from collections.abc import Container

from mirror.errors import UnknownRegistry
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.routing import Route


class Refetch:
    """Pulls as a client would, and keeps nothing but what is stored."""

    def __init__(self, upstreams: Container[str], manifests: PullManifest, blobs: PullBlob) -> None:
        self._upstreams = upstreams
        self._manifests = manifests
        self._blobs = blobs

    async def __call__(self, route: Route, kind: Kind, digest: Digest) -> None:
        """Return once the bytes are verified; raises MirrorError if they cannot be had."""
        if route.upstream not in self._upstreams:
            raise UnknownRegistry("it is not among the mirror's upstreams any more")
        if kind is Kind.MANIFEST:
            await self._manifests.pull(route, digest)
            return
        pulled = await self._blobs.pull(route, digest)
        try:
            offset = 0
            while (end := await pulled.body.sendable(offset)) > offset:
                offset = end
        finally:
            pulled.body.close()
