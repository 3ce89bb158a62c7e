"""Fetching again what was stored once, for a repository that may have it: what a scrub repairs with."""

from __future__ import annotations

from collections.abc import Container

from mirror.errors import StoreFailed, UnknownRegistry
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.routing import Route
from mirror.proxy.storing import store_blob


class Refetch:
    """Pulls as a client would, and keeps nothing but what is stored."""

    def __init__(self, upstreams: Container[str], manifests: PullManifest, blobs: PullBlob) -> None:
        self._upstreams = upstreams
        self._manifests = manifests
        self._blobs = blobs

    async def __call__(self, route: Route, kind: Kind, digest: Digest) -> None:
        """Return once it is stored; raises MirrorError if it cannot be had, or not be kept."""
        if route.upstream not in self._upstreams:
            raise UnknownRegistry("it is not among the mirror's upstreams any more")
        if kind is not Kind.MANIFEST:
            await store_blob(self._blobs, route, digest)
            return
        status = (await self._manifests.pull(route, digest)).status
        if status.outcome is Outcome.MISS and not status.stored:
            raise StoreFailed("it was fetched, and the disk did not take it")
