"""Pulling a manifest by its digest, as a story: the store, the right to serve what is there, one flight, upstream."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from mirror.errors import Refused, StoreFailed, UpstreamUnavailable
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.proxy import chain
from mirror.proxy.access import Access, confirmed_status
from mirror.proxy.cache_status import CacheStatus, Kind, Outcome
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import StoreTroubled
from mirror.proxy.interfaces.upstream import Upstream
from mirror.proxy.look_ups import LookUps
from mirror.proxy.pulled_manifest import Memory, PulledManifest
from mirror.proxy.routing import Route
from mirror.proxy.standing import Granted


class PullDigest:
    """Serves manifests by digest, which never age, and keeps them."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        memory: Memory,
        access: Access,
        look_ups: LookUps[PulledManifest],
        observer: Observer,
    ) -> None:
        self._upstreams = upstreams
        self._manifests = memory.manifests
        self._records = memory.records
        self._failures = memory.failures
        self._access = access
        self._look_ups = look_ups
        self._observer = observer

    async def pull(self, route: Route, digest: Digest) -> PulledManifest:
        """Return the manifest; raises Refused or UpstreamUnavailable, StoreFailed if the disk will not be read."""
        if manifest := await self._manifests.get(digest):
            return await self._permitted(route, manifest)
        return await self.fetch(route, digest)

    async def fetch(self, route: Route, digest: Digest) -> PulledManifest:
        """Return the manifest, which is not here, from upstream or by whoever fetches it."""
        return await self._look_ups.join((route, digest), lambda: self._fetch(route, digest))

    async def take(self, route: Route, manifest: Manifest) -> PulledManifest:
        """Keep what was fetched, if the disk takes it; the client is served all the same."""
        stored = True
        try:
            await self._manifests.put(manifest)
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("commit of a manifest", error))
            stored = False
        await self._records.grant(route, manifest.digest)
        return PulledManifest(manifest, CacheStatus(Outcome.MISS, stored))

    async def _permitted(self, route: Route, manifest: Manifest) -> PulledManifest:
        status = confirmed_status(await self._permit(route, manifest.digest))
        if status.outcome is not Outcome.HIT:
            return PulledManifest(manifest, status)
        standing = Granted(manifest, self._manifests, self._records.knows_grant(route, manifest.digest))
        return PulledManifest(manifest, status, standing=standing)

    async def _permit(self, route: Route, digest: Digest) -> bool:
        upstream = self._upstreams[route.upstream]
        ask = functools.partial(upstream.head_manifest, route.repository, digest)
        return await self._access.confirm(Kind.MANIFEST, route, digest, ask)

    async def _fetch(self, route: Route, digest: Digest) -> PulledManifest:
        if chain.came_through():
            # Else it could wait here for one that waits for its answer, by way of a mirror that asks this one.
            await self._permit(route, digest)
        async with answer_within(), self._manifests.turn(digest):
            if manifest := await self._manifests.get(digest):
                return await self._permitted(route, manifest)
            return await self.take(route, await self._fetched(route, digest))

    async def _fetched(self, route: Route, digest: Digest) -> Manifest:
        try:
            await self._failures.recall(Kind.MANIFEST, route, digest)
            async with answer_within():
                return await self._upstreams[route.upstream].get_manifest(route.repository, digest)
        except (Refused, UpstreamUnavailable) as error:
            await self._failures.remember(Kind.MANIFEST, route, digest, error)
            raise
