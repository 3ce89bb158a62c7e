"""Warming an image, as a story: may clients have it, may a pull be spent, its manifests, what they hold.

It is pulled as clients pull it, so that all that is fetched once for them is fetched once for them and for this
together, and nothing is stored, or granted, that they would not get.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mirror.errors import (
    Busy,
    MirrorError,
    PlatformMissing,
    PullSaved,
    Refused,
    RequestError,
    ReserveReached,
    ShuttingDown,
    StoreFailed,
    UpstreamInvalid,
    UpstreamUnavailable,
)
from mirror.oci.children import described_in
from mirror.oci.digest import Digest
from mirror.oci.platforms import Platforms, told
from mirror.oci.reference import Tag
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.warming import ImageWarmed
from mirror.proxy.interfaces.upstream import Upstream
from mirror.proxy.operations.naming import FullName, Naming
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import PulledManifest
from mirror.proxy.rate_limit import Governor, Spending
from mirror.proxy.refreshed import Refreshed
from mirror.proxy.routing import Route
from mirror.proxy.storing import store_blob
from mirror.proxy.visibility import Visibility
from mirror.proxy.warming.in_turn import in_turn
from mirror.proxy.warming.warmth import Progress, Wanted, Warmed, Warmth

BLOBS_AT_ONCE = 6
"""Blobs that are fetched at a time for all that is warmed; clients have the other turns."""

PARTS_AT_ONCE = 3
"""Manifests of one image that are fetched at a time, then blobs of it: as many as clients ask for."""

_BUSY_SECONDS = 5.0
_BUSY_TIMES = 60
# Clients go first: for five minutes, nobody waits for what is warmed.
_MOST_MANIFESTS = 1000
# Of one image; an index of all platforms there are has a hundred.

_SPARING = {
    Spending.SAVING: "only the reserve of its rate limit is left, and warming spends none of it",
    Spending.EXHAUSTED: "its rate limit is used up, and warming waits until it is not",
}


@dataclass(frozen=True, slots=True)
class Ways:
    """How images are had: named, seen, asked for, pulled, and paid for."""

    naming: Naming
    visibility: Visibility
    upstreams: Mapping[str, Upstream]
    manifests: PullManifest
    blobs: PullBlob
    governor: Governor


class Warm:
    """Has images in the cache."""

    def __init__(self, ways: Ways, observer: Observer) -> None:
        self._ways = ways
        self._observer = observer
        self._blobs = asyncio.Semaphore(BLOBS_AT_ONCE)
        self._asked: set[str] = set()
        self._is_closed = False

    def close(self) -> None:
        """Begin nothing new from now on; what is on its way comes."""
        self._is_closed = True

    def called(self, image: str) -> str:
        """Return the full name of an image; of what names none here, what it is called."""
        try:
            return str(self._ways.naming.image(image))
        except RequestError:
            return image

    async def image(self, wanted: Wanted, progress: Progress) -> Warmed:
        """Fetch what is missing of an image, and tell how it went; `progress` is kept up meanwhile."""
        try:
            name = self._ways.naming.image(wanted.image)
            progress.image = str(name)
            await self._have(name, wanted.platforms, progress)
        except MirrorError as error:
            warmth = Warmth.SPARED if isinstance(error, ReserveReached | PullSaved) else Warmth.FAILED
            warmed = Warmed(progress.image, warmth, progress.total or 0, progress.fetched, error)
        else:
            warmth = Warmth.WARMED if progress.fetched else Warmth.PRESENT
            warmed = Warmed(progress.image, warmth, progress.total or 0, progress.fetched)
        self._observer.notify(ImageWarmed(warmed.image, warmed.warmth, warmed.fetched, warmed.error))
        return warmed

    async def _have(self, name: FullName, platforms: Platforms, progress: Progress) -> None:
        self._begin()
        await self._ways.visibility.check(name.route, Kind.MANIFEST, name.reference)
        await self._hear_of_limit(name)
        self._spend(name.route.upstream)
        pulled = await self._root(name, progress)
        blobs = await self._manifests(name.route, pulled, platforms, progress)
        progress.total = progress.done + sum(blobs.values())
        await in_turn(blobs, PARTS_AT_ONCE, functools.partial(self._store, name.route, progress))

    async def _root(self, name: FullName, progress: Progress) -> PulledManifest:
        """Pull what the name is now, however fresh it is; raises as a pull does, also where what is cached could do."""
        is_new = False
        if isinstance(name.reference, Tag):
            found = await self._ways.manifests.refresh(name.route, name.reference)
            if found is Refreshed.UNREACHABLE:
                # If only the reserve is left by now, it may have moved, and what is here is not what is wanted.
                self._spend(name.route.upstream)
            is_new = found is Refreshed.MOVED
        pulled = await self._ways.manifests.pull(name.route, name.reference)
        if pulled.trouble is not None:
            # What is here may be what the tag was, and nobody can tell.
            raise pulled.trouble
        progress.fetched += len(pulled.manifest.data) if is_new else 0
        return pulled

    async def _hear_of_limit(self, name: FullName) -> None:
        """Have an upstream say what is left of its limit before anything is spent: nobody knows in the beginning."""
        upstream = name.route.upstream
        if upstream in self._asked:
            return
        with suppress(Refused, UpstreamUnavailable):
            # What is wrong with it, the pull will tell.
            async with answer_within():
                await self._ways.upstreams[upstream].head_manifest(name.route.repository, name.reference)
        self._asked.add(upstream)

    # Manifests. ------------------------------------------------------------------------------------------

    async def _manifests(
        self, route: Route, root: PulledManifest, platforms: Platforms, progress: Progress
    ) -> dict[Digest, int]:
        """Pull the manifests below `root` that are wanted; return the blobs of all of them, with their sizes."""
        blobs: dict[Digest, int] = {}
        level, seen = [root], {root.manifest.digest}
        while level:
            below = {digest for pulled in level for digest in _noted(pulled, platforms, progress, blobs)} - seen
            seen |= below
            if len(seen) > _MOST_MANIFESTS:
                raise UpstreamInvalid(f"the image has more than {_MOST_MANIFESTS} manifests")
            level = []
            await in_turn(sorted(below, key=str), PARTS_AT_ONCE, functools.partial(self._pull_below, route, level))
        return blobs

    async def _pull_below(self, route: Route, level: list[PulledManifest], digest: Digest) -> None:
        self._spend(route.upstream)
        level.append(await self._ways.manifests.pull(route, digest))

    def _spend(self, upstream: str) -> None:
        """Raise ReserveReached if the upstream's limit is worth more than what is warmed."""
        self._begin()
        spending = self._ways.governor.spending(upstream)
        if spending is not Spending.FREE:
            raise ReserveReached(_SPARING[spending])

    def _begin(self) -> None:
        if self._is_closed:
            raise ShuttingDown("the mirror is shutting down")

    # Blobs. ----------------------------------------------------------------------------------------------

    async def _store(self, route: Route, progress: Progress, digest: Digest) -> None:
        """Have a blob stored; that so much is fetched already is a reason to wait, not to give up."""

        came = 0

        def arrived(size: int) -> None:
            nonlocal came
            came += size
            progress.done += size

        for attempt in range(_BUSY_TIMES):
            try:
                async with self._blobs:
                    self._begin()
                    status = await store_blob(self._ways.blobs, route, digest, arrived)
                break
            except Busy:
                if attempt == _BUSY_TIMES - 1:
                    raise
                await asyncio.sleep(_BUSY_SECONDS)
        if status.outcome is Outcome.MISS:
            progress.fetched += came


def _noted(pulled: PulledManifest, platforms: Platforms, progress: Progress, blobs: dict[Digest, int]) -> list[Digest]:
    """Note a manifest that was pulled, and the blobs it holds; return those of the manifests below it that are wanted.

    Raises StoreFailed if it could not be kept, PlatformMissing if none below it is wanted.
    """
    size, status = len(pulled.manifest.data), pulled.status
    if status.outcome is Outcome.MISS and not status.stored:
        raise StoreFailed("it was fetched, and the disk did not take it")
    progress.done += size
    progress.fetched += size if status.outcome is Outcome.MISS else 0
    children = described_in(pulled.manifest.data)
    blobs.update({child.digest: child.size or 0 for child in children if child.is_blob})
    below = [child for child in children if child.is_manifest]
    chosen = [child.digest for child in below if platforms.include(child)]
    if below and not chosen:
        raise PlatformMissing(f"it is not there for {platforms}; it is for {told(below)}")
    return chosen
