"""One run of the simulation: a few processes, a few blobs, many clients, and whatever its seed has against them."""

from __future__ import annotations

import asyncio

from tests.simulation.chance import Chance
from tests.simulation.clients import TAG
from tests.simulation.scale import HOLD_BACK, SMALL, WINDOW
from tests.simulation.site import Site
from tests.simulation.world import UNLIMITED, World
from tests.unit.proxy.doubles import HUB, OTHER

SIZES = (0, 1, 700, HOLD_BACK, HOLD_BACK + 1, SMALL, SMALL + 1, 3 * SMALL, WINDOW, 2 * WINDOW + 77)


class Storm:
    """Lets happen to a world what `chance` decides."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self.world = World(chance, WINDOW if chance.random() < 0.2 else UNLIMITED)
        sizes = chance.sample(SIZES, chance.choice((1, 1, 2, 3)))
        self._digests = [self.world.origin.put_blob(chance.randbytes(size)) for size in sizes]

    async def run(self) -> None:
        """Let clients come for a while, then be calm, and see whether everything heals."""
        self.world.origin.move_tag(b"first", 0)
        if self._chance.random() < 0.3:
            self.world.origin.never_open.add(OTHER.repository)
        for _ in range(self._chance.choice((1, 2, 2, 3))):
            self.world.start()
        happenings = [self._clients(), self._tag_moves()]
        happenings += [self._kill() for _ in range(self._chance.choice((0, 0, 1, 1, 2)))]
        await asyncio.gather(*happenings)
        await self.world.heal()

    async def _clients(self) -> None:
        coming = self._chance.randint(2, 14)
        within = self._chance.choice((0.0, 1.0, 30.0))
        for _ in range(coming):
            await asyncio.sleep(self._chance.uniform(0, within))
            site = self._chance.choice(self.world.sites)
            client = site.serve(self._client(site))
            if self._chance.random() < 0.2:
                asyncio.get_running_loop().call_later(self._chance.uniform(0, 3), client.cancel)
        while clients := {client for site in self.world.sites for client in site.clients}:
            await asyncio.wait(clients)

    async def _client(self, site: Site) -> None:
        watched = self.world.watched
        route = HUB if self._chance.random() < 0.8 else OTHER
        digest = self._chance.choice(self._digests)
        kind = self._chance.random()
        if kind < 0.1:
            await watched.head(site, route, digest)
        elif kind < 0.25:
            await watched.pull_manifest(site, route, TAG)
        elif kind < 0.45:
            first = self._chance.randint(0, len(self.world.origin.blobs[digest]))
            last = None if self._chance.random() < 0.5 else first + self._chance.randint(0, 5000)
            await watched.pull(site, route, digest, first, last)
        else:
            await watched.pull(site, route, digest)

    async def _tag_moves(self) -> None:
        for number in range(self._chance.randint(0, 3)):
            await asyncio.sleep(self._chance.uniform(0, 60))
            now = asyncio.get_running_loop().time()
            self.world.origin.move_tag(None if self._chance.random() < 0.3 else b"%d" % number, now)

    async def _kill(self) -> None:
        await asyncio.sleep(self._chance.expovariate(1 / self._chance.choice((0.05, 0.5, 5))))
        if self._chance.random() < 0.7:
            await self._somebody_follows()
            await asyncio.sleep(self._chance.uniform(0, 0.5))
        # Most often the one that fetches something while others read along.
        sites = self.world.sites
        writing = [site for site in sites if site.store.is_writing]
        at_random = not writing or self._chance.random() < 0.3
        await self.world.kill(self._chance.choice(sites if at_random else writing))

    async def _somebody_follows(self) -> None:
        for _ in range(200):
            if any(site.store.is_following for site in self.world.sites):
                break
            await asyncio.sleep(0.02)
