"""Read-ahead: the blobs of a manifest that a client has just got are begun before it asks for them.

Each is asked for upstream and then held (see fills.hold): who only looks at manifests costs no more. Once a client
comes for a layer, the ones above it go on by themselves (see fills.layers), so that they are here by the time an engine
comes to them that fetches three at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mirror.oci.children import Child, described_in
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.proxy import chain
from mirror.proxy.cache_status import Outcome
from mirror.proxy.events.fills import Ahead, ReadAhead
from mirror.proxy.events.observer import Observer
from mirror.proxy.fills.filler import Filler
from mirror.proxy.fills.hold import Hold
from mirror.proxy.fills.layers import Layers
from mirror.proxy.interfaces.store import BlobStore
from mirror.proxy.pulled_manifest import PulledManifest
from mirror.proxy.rate_limit import Governor, Spending
from mirror.proxy.routing import Route
from mirror.proxy.tasks import Tasks

MOST_OF_A_MANIFEST = 32
"""Blobs of a manifest that are begun ahead; the first ones, which clients ask for first."""

MOST_AT_ONCE = 64
"""Fills that wait for somebody to come, of all manifests together."""

MOST_REMEMBERED = 10_000
"""Manifests that are remembered as looked at; one that is not is looked at once more."""


class ReadsAhead:
    """Begins the fills of `upstreams`, while their limits allow for it."""

    def __init__(
        self,
        upstreams: Collection[str],
        store: BlobStore,
        filler: Filler,
        governor: Governor,
        tasks: Tasks,
        observer: Observer,
    ) -> None:
        self._upstreams = frozenset(upstreams)
        self._store = store
        self._filler = filler
        self._governor = governor
        self._tasks = tasks
        self._observer = observer
        self._looked_at: dict[Digest, None] = {}
        self._waiting: set[Hold] = set()
        self._is_closed = False

    def served(self, route: Route, pulled: PulledManifest) -> None:
        """A client got a manifest, and its body: read ahead, the first time that this one is served since it came."""
        manifest, status = pulled.manifest, pulled.status
        is_new = status.outcome is Outcome.MISS and status.stored
        if (manifest.digest in self._looked_at and not is_new) or not self._may(route, pulled):
            return
        self._looked_at[manifest.digest] = None
        if len(self._looked_at) > MOST_REMEMBERED:
            del self._looked_at[next(iter(self._looked_at))]
        self._tasks.spawn(self._read(route, manifest), name=f"read ahead {manifest.digest}")

    def close(self) -> None:
        """Wait for nobody any more, and begin nothing new."""
        self._is_closed = True
        for hold in self._waiting:
            hold.drop()

    def _may(self, route: Route, pulled: PulledManifest) -> bool:
        if self._is_closed or route.upstream not in self._upstreams or pulled.status.outcome is Outcome.STALE:
            return False
        # A mirror that asks this one reads ahead itself.
        return not chain.came_through() and self._governor.spending(route.upstream) is Spending.FREE

    async def _read(self, route: Route, manifest: Manifest) -> None:
        layers = Layers()
        children = described_in(manifest.data)
        for child in children:
            self._filler.expect(child.digest, child.size or 0)
        for child in await self._missing(children):
            fill = self._filler.find(child.digest)
            if fill is None:
                await self._begin(route, child, layers)
            elif not fill.is_unclaimed:
                layers.fetched()

    async def _missing(self, children: Sequence[Child]) -> Sequence[Child]:
        """Return which of these can be read ahead, in order."""
        found: list[Child] = []
        for child in children:
            if len(found) < MOST_OF_A_MANIFEST and self._is_wanted(child):
                stored = await self._store.open(child.digest)
                if stored is None:
                    found.append(child)
                else:
                    stored.close()
        return found

    def _is_wanted(self, child: Child) -> bool:
        return child.is_blob and not child.is_elsewhere and self._store.admits(child.size or 0)

    async def _begin(self, route: Route, child: Child, layers: Layers) -> None:
        hold = Hold(lambda: self._claimed(route, child, hold, layers))
        fill = None
        if len(self._waiting) < MOST_AT_ONCE and not self._is_closed:
            fill = await self._filler.begin_ahead(route, child.digest, hold)
        if fill is None:
            self._tell(route, child, Ahead.SPARED)
            return
        self._waiting.add(hold)
        fill.add_done_callback(lambda _: self._ended(route, child, hold))
        layers.begun(hold, child.size)

    def _claimed(self, route: Route, child: Child, hold: Hold, layers: Layers) -> None:
        self._waiting.discard(hold)
        self._tell(route, child, Ahead.CLAIMED)
        layers.claimed(hold)

    def _ended(self, route: Route, child: Child, hold: Hold) -> None:
        self._waiting.discard(hold)
        if not hold.is_claimed:
            self._tell(route, child, Ahead.LET_GO if hold.is_held else Ahead.EARLY)

    def _tell(self, route: Route, child: Child, ahead: Ahead) -> None:
        self._observer.notify(ReadAhead(route.upstream, child.digest, ahead))
