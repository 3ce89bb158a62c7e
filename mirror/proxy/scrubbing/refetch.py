"""Fetching again what was stored once, for a repository that may have it: what a scrub repairs with."""

from __future__ import annotations

import asyncio
from collections.abc import Container

from mirror.errors import StoreFailed, UnknownRegistry
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.routing import Route

_POLL_SECONDS = 0.02


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
        is_kept = self._fetch_manifest if kind is Kind.MANIFEST else self._fetch_blob
        if not await is_kept(route, digest):
            raise StoreFailed("it was fetched, and the disk did not take it")

    async def _fetch_manifest(self, route: Route, digest: Digest) -> bool:
        status = (await self._manifests.pull(route, digest)).status
        return status.stored or status.outcome is not Outcome.MISS

    async def _fetch_blob(self, route: Route, digest: Digest) -> bool:
        pulled = await self._blobs.pull(route, digest)
        try:
            offset = 0
            while (end := await pulled.body.sendable(offset)) > offset:
                offset = end
        finally:
            pulled.body.close()
        # Its last bytes may be had a little before it has its name among the stored ones.
        while (outcome := await self._state(route, digest)) is Outcome.COLLAPSED:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(_POLL_SECONDS)
        return outcome is not Outcome.MISS

    async def _state(self, route: Route, digest: Digest) -> Outcome:
        return (await self._blobs.head(route, digest)).status.outcome
