"""The same world, step by step: Hypothesis looks for a short story that breaks a promise."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from mirror.oci.digest import Digest
from mirror.proxy.routing import Route
from tests.simulation.chance import Chance
from tests.simulation.clients import TAG
from tests.simulation.scale import HOLD_BACK, SMALL, WINDOW, scaled_down
from tests.simulation.site import Site
from tests.simulation.world import UNLIMITED, World
from tests.unit.proxy.doubles import HUB, OTHER
from tests.unit.virtual_time import VirtualTimeLoop

T = TypeVar("T")

SIZES = (700, SMALL + 1, WINDOW + 5000)
UPSTREAM_FAULTS = (
    "cut", "stall", "short", "long", "other bytes", "no length", "other length", "range ignored", "refused",
    "throttled", "failed", "silent", "no head length",
)  # fmt: skip

EXAMPLES = int(os.environ.get("EXAMPLES", "500"))
"""How many stories are tried: the same 500 in every run, others where more or fewer are asked for."""

blobs = st.integers(0, len(SIZES) - 1)
sites = st.integers(0, 1)
routes = st.sampled_from([HUB, OTHER])
moments = st.sampled_from([0.0, 0.001, 0.05, 0.2, 0.5, 2.0])


class MirrorMachine(RuleBasedStateMachine):
    """Two processes, three blobs, one tag."""

    def __init__(self) -> None:
        super().__init__()
        self._scale = scaled_down()
        self._scale.__enter__()
        self._loop = VirtualTimeLoop(random.Random(0))
        chance = Chance("machine")
        chance.rates = {}
        self._world = World(chance)
        self._digests = [self._world.origin.put_blob(chance.randbytes(size)) for size in SIZES]

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let something happen; afterwards every promise must hold."""
        result = self._loop.run_until_complete(work)
        self._world.check_committed()
        assert not self._world.violations, "\n".join(self._world.violations)
        return result

    @initialize()
    def begin(self) -> None:
        async def begin() -> None:
            for _ in range(2):
                self._world.start()

        self._world.origin.move_tag(b"first", 0)
        self._do(begin())

    def _site(self, number: int) -> Site:
        return self._world.sites[number]

    # Clients. --------------------------------------------------------------------------------------------

    @rule(site=sites, route=routes, blob=blobs)
    def pull(self, site: int, route: Route, blob: int) -> None:
        digest = self._digests[blob]
        has_no_right = (
            route.repository in self._world.origin.closed and (route, digest) not in self._world.shared.records.grants
        )
        ended = self._do(self._world.watched.pull(self._site(site), route, digest))
        assert not (has_no_right and ended in ("complete", "BodyCut")), f"{route} had no right to {digest}"

    @rule(site=sites, blob=blobs, first=st.integers(0, 3 * SMALL), length=st.none() | st.integers(1, 2 * HOLD_BACK))
    def pull_range(self, site: int, blob: int, first: int, length: int | None) -> None:
        last = None if length is None else first + length - 1
        self._do(self._world.watched.pull(self._site(site), HUB, self._digests[blob], first, last))

    @rule(site=sites, route=routes, blob=blobs, then=moments)
    def a_client_comes(self, site: int, route: Route, blob: int, then: float) -> None:
        async def come() -> None:
            process = self._site(site)
            process.serve(self._client(process, route, self._digests[blob]))
            await asyncio.sleep(then)

        self._do(come())

    async def _client(self, site: Site, route: Route, digest: Digest) -> None:
        await self._world.watched.pull(site, route, digest)

    @precondition(lambda self: any(site.clients for site in self._world.sites))
    @rule()
    def a_client_leaves(self) -> None:
        async def leave() -> None:
            client = next(client for site in self._world.sites for client in site.clients)
            client.cancel()
            await asyncio.wait([client])

        self._do(leave())

    @rule(site=sites, route=routes)
    def pull_tag(self, site: int, route: Route) -> None:
        self._do(self._world.watched.pull_manifest(self._site(site), route, TAG))

    # Upstream. -------------------------------------------------------------------------------------------

    @rule(content=st.none() | st.sampled_from([b"first", b"second"]))
    def move_tag(self, content: bytes | None) -> None:
        self._world.origin.move_tag(content, self._loop.time())

    @rule(fault=st.sampled_from(UPSTREAM_FAULTS), rate=st.sampled_from([0.1, 0.5]))
    def upstream_turns_bad(self, fault: str, rate: float) -> None:
        self._world.chance.rates[fault] = rate

    @rule()
    def upstream_is_well_again(self) -> None:
        self._world.chance.rates = {}
        self._world.origin.is_down = False

    @rule()
    def upstream_is_down(self) -> None:
        self._world.origin.is_down = True

    @rule(is_closed=st.booleans())
    def a_repository_changes_hands(self, is_closed: bool) -> None:
        closed = self._world.origin.closed
        (closed.add if is_closed else closed.discard)(OTHER.repository)

    # The machine it runs on. -----------------------------------------------------------------------------

    @rule(blob=blobs)
    def a_file_is_gone(self, blob: int) -> None:
        self._world.disk.committed.pop(self._digests[blob], None)

    @precondition(lambda self: any(inode.owner is None for inode in self._world.disk.partial.values()))
    @rule()
    def what_was_left_rots(self) -> None:
        for digest, inode in self._world.disk.partial.items():
            if inode.owner is None and inode.page.prefix:
                inode.spoil()
                self._world.origin.lied_about.add(digest)

    @rule(is_full=st.booleans())
    def the_disk_fills(self, is_full: bool) -> None:
        self._world.disk.is_full = is_full

    @rule(max_size=st.sampled_from([0, SMALL, WINDOW, UNLIMITED]))
    def the_limits_change(self, max_size: int) -> None:
        self._world.limit(max_size)

    @rule(site=sites)
    def kill(self, site: int) -> None:
        self._do(self._world.kill(self._site(site)))

    @rule(seconds=st.sampled_from([0.1, 6.0, 31.0, 61.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds))

    def teardown(self) -> None:
        try:
            if not self._world.violations:
                self._do(self._end())
        finally:
            self._loop.close()
            self._scale.__exit__(None, None, None)

    async def _end(self) -> None:
        if clients := {client for site in self._world.sites for client in site.clients}:
            await asyncio.wait(clients)
        await self._world.heal()


MirrorMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=15,
    deadline=None,
    database=None,
    derandomize=EXAMPLES == 500,
    suppress_health_check=list(HealthCheck),
)
# A failure takes Hypothesis minutes to make short.
TestMirror = pytest.mark.timeout(0)(MirrorMachine.TestCase)
