"""Pulling a blob, as a story: the store, else the fill under way, else a new fill; never without a grant."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mirror.errors import LoopDetected, MirrorError, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy import chain
from mirror.proxy.access import Access, confirmed_status
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.cache_status import CacheStatus, Kind, Outcome
from mirror.proxy.deadline import answer_within
from mirror.proxy.fills.fill import Fill
from mirror.proxy.fills.filler import Filler
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.interfaces.store import BlobStore
from mirror.proxy.interfaces.upstream import Upstream
from mirror.proxy.routing import Route

_ATTEMPTS = 3
# A blob may be committed, evicted or abandoned by another repository's fill between two looks; not for ever.

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class PulledBlob:
    """A blob ready to be sent; whoever gets it closes `body`."""

    body: Body
    status: CacheStatus


@dataclass(frozen=True, slots=True)
class BlobHead:
    """What a HEAD tells of a blob; `size` in bytes, None where upstream did not say."""

    size: int | None
    status: CacheStatus


class PullBlob:
    """Serves blobs from the store and fills it."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        store: BlobStore,
        access: Access,
        filler: Filler,
        sizes: BlobSize,
    ) -> None:
        self._upstreams = upstreams
        self._store = store
        self._access = access
        self._filler = filler
        self._sizes = sizes

    async def pull(self, route: Route, digest: Digest) -> PulledBlob:
        """Return the blob, complete or growing.

        Raises Refused or UpstreamUnavailable with what upstream said, StoreFailed if the disk will not take it.
        """
        if body := await self._store.open(digest):
            return await self._stored(route, digest, body)
        async with answer_within():
            for _ in range(_ATTEMPTS):
                if pulled := await self._filling(route, digest):
                    return pulled
                if body := await self._store.open(digest):
                    return await self._stored(route, digest, body)
        raise StoreFailed("the blob vanishes as often as it is fetched")

    def at_hand(self, route: Route, digest: Digest) -> Callable[[], Body | None]:
        """Return what opens the blob at any time, if that is a hit, asking nobody and without a wait."""
        granted = self._access.recalled(route, digest)
        return lambda: self._store.at_hand(digest) if granted() else None

    async def hit(self, route: Route, digest: Digest) -> Body | None:
        """Return the blob if that is a hit, asking nobody; raises StoreFailed if the disk will not be read."""
        return await self._store.open(digest) if await self._access.granted(route, digest) else None

    async def head(self, route: Route, digest: Digest) -> BlobHead:
        """Return the blob's size without fetching it; raises as `pull` does."""
        async with answer_within():
            return await self._head(route, digest)

    async def confirm(self, route: Route, digest: Digest) -> CacheStatus:
        """Make sure that the blob may be had here, stored or not, and fetch nothing; raises as `pull` does."""
        async with answer_within():
            return confirmed_status(await self._confirm(route, digest))

    async def settled(self, digest: Digest) -> bool:
        """Wait until nobody writes the blob any more, and tell whether it is stored.

        The last bytes of a fill may be had a little before it has its name among the stored ones.
        """
        while self._filler.find(digest) is not None:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(_POLL_SECONDS)
        body = await self._store.open(digest)
        if body is not None:
            body.close()
        return body is not None

    async def _head(self, route: Route, digest: Digest) -> BlobHead:
        if body := await self._store.open(digest):
            pulled = await self._stored(route, digest, body)
            pulled.body.close()
            return BlobHead(pulled.body.size, pulled.status)
        fill = self._filler.find(digest)
        if fill is not None and (fill.route != route or fill.is_held or _may_wait_for_us(fill)):
            fill = None
        if fill is not None and (size := await fill.size()) is not None:
            return BlobHead(size, CacheStatus(Outcome.COLLAPSED))
        return BlobHead(await self._sizes.ask(route, digest), CacheStatus(Outcome.MISS))

    async def _stored(self, route: Route, digest: Digest, body: Body) -> PulledBlob:
        try:
            asked = await self._confirm(route, digest)
        except BaseException:
            body.close()
            raise
        return PulledBlob(body, confirmed_status(asked))

    async def _filling(self, route: Route, digest: Digest) -> PulledBlob | None:
        fill, joined = self._filler.join_or_start(route, digest)
        was_ahead = joined and fill.is_unclaimed
        if fill.route != route or (joined and _may_wait_for_us(fill)):
            await self._confirm(route, digest)
        if joined and _may_wait_for_us(fill) and chain.is_circular():
            raise LoopDetected(
                "this mirror may be waiting for the one that asks it: that one has to ask its next endpoint"
            )
        try:
            body = await fill.open()
        except MirrorError:
            if fill.route != route:
                return None
            raise
        if body is None:
            return None
        outcome = Outcome.COLLAPSED if joined and not was_ahead else Outcome.MISS
        return PulledBlob(body, CacheStatus(outcome, stored=fill.is_kept))

    async def _confirm(self, route: Route, digest: Digest) -> bool:
        upstream = self._upstreams[route.upstream]
        ask = functools.partial(upstream.head_blob, route.repository, digest)
        return await self._access.confirm(Kind.BLOB, route, digest, ask)


def _may_wait_for_us(fill: Fill) -> bool:
    """Tell whether a fill may wait for the answer to this very request, by way of a mirror that asks this one."""
    return bool(chain.came_through()) and fill.progress is None
