"""A small world: processes that share a disk and an upstream, and what must be true of it in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from mirror.oci.digest import Digest
from mirror.proxy.events.observer import Observer
from mirror.proxy.tasks import Tasks
from tests.simulation.chance import Chance
from tests.simulation.clients import Watched
from tests.simulation.disk import SimulatedDisk
from tests.simulation.origin import Origin
from tests.simulation.scale import LARGEST_PIECE, SEGMENT, WINDOW
from tests.simulation.site import NEGATIVE_TTL, Shared, Site
from tests.unit.proxy.doubles import HUB

MOST_IN_PASSING = WINDOW + LARGEST_PIECE + SEGMENT
DRAIN_SECONDS = 1200.0
UNLIMITED = 2**40


class World:
    """Sites over one disk; `violations` are the promises that were broken."""

    def __init__(self, chance: Chance, max_size: int = UNLIMITED) -> None:
        self.chance = chance
        self.origin = Origin(chance)
        self.disk = SimulatedDisk(chance)
        self.shared = Shared(self.origin, self.disk, max_size)
        self.watched = Watched(self.origin, chance)
        self.violations = self.watched.violations
        self.sites: list[Site] = []
        self._all_sites: list[Site] = []
        self._may_overlap: set[Digest] = set()

    def start(self, make_tasks: Callable[[Observer], Tasks] = Tasks) -> Site:
        """Start a process."""
        site = Site(self.shared, make_tasks)
        self.sites.append(site)
        self._all_sites.append(site)
        return site

    async def kill(self, site: Site) -> None:
        """End a process at once, and start another in its place."""
        self.sites.remove(site)
        self.start()
        await site.kill()

    def limit(self, max_size: int) -> None:
        """Change what the caches keep; what passes through memory may be fetched more than once."""
        self.shared.max_size = max_size
        for site in self.sites:
            site.store.max_size = max_size
        self._may_overlap |= {digest for digest, data in self.origin.blobs.items() if len(data) > max_size}

    async def quiet(self) -> None:
        """Wait until no process has anything to do."""
        for site in self.sites:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await site.tasks.finished()
        current = asyncio.current_task()
        running = [task.get_name() for task in asyncio.all_tasks() if task is not current]
        self.violations += [f"still running: {name}" for name in running]

    async def heal(self) -> None:
        """Let nothing be in the way any more, and see that everything is to be had; then that nothing is left over."""
        self.chance.is_calm = True
        self.origin.is_down = self.disk.is_full = False
        self.origin.closed.clear()
        await self.quiet()
        self.check_overlap()
        await asyncio.sleep(NEGATIVE_TTL + 1)
        for digest in self.origin.blobs:
            await self._pull_again(digest)
        await self.quiet()
        self._check_end()

    async def _pull_again(self, digest: Digest) -> None:
        site = self.chance.choice(self.sites)
        if digest in self.origin.lied_about:
            # What is left of a fill that was given up may be wrong: this pull finds it out.
            await self.watched.pull(site, HUB, digest)
        ended = await self.watched.pull(site, HUB, digest)
        self._expect(ended == "complete", f"once all is well, {digest} ends with {ended}")

    def check_committed(self) -> None:
        """See that everything on disk is what its name says."""
        for digest, data in self.disk.committed.items():
            self._expect(digest.verifies(data), f"{digest} is committed with wrong bytes")

    def check_overlap(self) -> None:
        """See that nothing was on its way twice at once, where the disk took it."""
        self.limit(self.shared.max_size)
        if not self.disk.has_refused:
            # What came wrong is begun anew, and who had bytes of the first attempt through another process goes on with
            # them past the disk; a length that is told wrongly may be one that cannot be kept.
            overlapped = self.origin.overlapped - self._may_overlap - self.origin.lied_about
            self.violations += [f"{digest} was fetched twice at once" for digest in overlapped]

    def _check_end(self) -> None:
        self.check_committed()
        self._expect(not self.disk.locked, f"locks are left: {self.disk.locked}")
        self._expect(not any(self.origin.transfers.values()), "transfers are left open")
        for site in self._all_sites:
            self.violations += site.leftovers()
            most = site.store.most_in_passing
            self._expect(most <= MOST_IN_PASSING, f"{most} bytes were in memory")

    def _expect(self, holds: bool, violation: str) -> None:
        if not holds:
            self.violations.append(violation)
