"""Clients, and what they were promised: the oracle of the simulation."""

from __future__ import annotations

import asyncio

from mirror.errors import BodyCut, MirrorError, StoreFailed
from mirror.oci.digest import Digest
from mirror.oci.reference import Tag
from mirror.proxy.cache_status import Outcome
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.routing import Route
from tests.simulation.chance import Chance
from tests.simulation.origin import Origin
from tests.simulation.scale import HOLD_BACK
from tests.simulation.site import STALE_IF_ERROR, TAG_TTL, Site
from tests.unit.proxy.doubles import read_piece

ANSWER_SECONDS = 25.0
"""Longest time to a first answer."""

SILENCE_SECONDS = 160.0
"""Longest time without a byte: 60 s and one more try to reach upstream, behind 75 s of waiting for another process."""

HELD_BACK_SECONDS = 600.0
"""Longest time without the last bytes: each try may bring a few of them, and none goes out before the digest."""

CLIENT_STALL = 60.0
"""How long the sender of bodies bears with a client that takes nothing."""

TAG = Tag("latest")


class Watched:
    """Pulls through a site, and notes every broken promise."""

    def __init__(self, origin: Origin, chance: Chance) -> None:
        self._origin = origin
        self._chance = chance
        self.violations: list[str] = []
        self.completed = 0

    def _check(self, holds: bool, violation: str) -> None:
        if not holds:
            self.violations.append(f"at {_now():.3f} s: {violation}")

    # Blobs. ----------------------------------------------------------------------------------------------

    async def pull(self, site: Site, route: Route, digest: Digest, first: int = 0, last: int | None = None) -> str:
        """Pull a blob, or the range of bytes up to `last`; return how it ended, in a word."""
        asked = _now()
        try:
            pulled = await site.blobs.pull(route, digest)
        except MirrorError as error:
            return type(error).__name__
        finally:
            self._check(_now() - asked <= ANSWER_SECONDS, f"{digest} was answered after {_now() - asked:.1f} s")
        self._check(route.repository not in self._origin.never_open, f"{route} had no right to {digest}")
        try:
            return await self._receive(pulled.body, digest, first, last)
        except (BodyCut, StoreFailed) as error:
            return type(error).__name__
        finally:
            pulled.body.close()

    async def _receive(self, body: Body, digest: Digest, first: int, last: int | None) -> str:
        size = body.size
        # As the server does: of a blob whose length is unknown there are no ranges.
        first, last = (0, None) if size is None or first >= size else (first, last)
        stop = size if last is None or size is None else min(last + 1, size)
        got = bytearray()
        while stop is None or first + len(got) < stop:
            offset = first + len(got)
            waiting = _now()
            end = await body.sendable(offset)
            # Who asks for a range waits until the fill has come there.
            silent = _now() - waiting if first == 0 or got else 0.0
            is_held_back = size is None or offset + HOLD_BACK >= size
            most = HELD_BACK_SECONDS if is_held_back else SILENCE_SECONDS
            self._check(silent <= most, f"nothing of {digest} came for {silent:.1f} s")
            if end <= offset:
                break
            await self._take(body, offset, end if stop is None else min(end, stop), got)
        if stop is not None and first + len(got) < stop:
            return "short"
        if stop != size:
            # As the server does: the last bytes of a range go out when the digest of the whole has matched.
            await body.verified()
        self._complete(digest, first, stop if stop != size else None, bytes(got))
        return "complete"

    async def _take(self, body: Body, start: int, stop: int, got: bytearray) -> None:
        window = self._chance.choice((512, 4096, 65536))
        while start < stop:
            end = min(stop, start + window)
            got += await read_piece(body, start, end)
            start = end
            await self._dawdle()

    async def _dawdle(self) -> None:
        if self._chance.strikes("client stalls"):
            await asyncio.sleep(CLIENT_STALL)
            raise BodyCut("the client took nothing")
        if self._chance.strikes("client slow"):
            await asyncio.sleep(self._chance.choice((0.01, 0.01, 1, 10)))

    def _complete(self, digest: Digest, first: int, stop: int | None, got: bytes) -> None:
        self.completed += 1
        right = got == self._origin.blobs[digest][first:stop]
        self._check(right, f"a complete body of {digest} from {first} to {stop} has wrong bytes")

    async def head(self, site: Site, route: Route, digest: Digest) -> str:
        """Ask for the size of a blob."""
        asked = _now()
        try:
            head = await site.blobs.head(route, digest)
        except MirrorError as error:
            return type(error).__name__
        finally:
            self._check(_now() - asked <= ANSWER_SECONDS, f"HEAD of {digest} took {_now() - asked:.1f} s")
        right = head.size in (None, len(self._origin.blobs[digest])) or digest in self._origin.lied_about
        self._check(right, f"HEAD of {digest} says {head.size}")
        return "complete"

    # Manifests. ------------------------------------------------------------------------------------------

    async def pull_manifest(self, site: Site, route: Route, reference: Tag | Digest) -> str:
        """Pull a manifest; return how it ended, in a word."""
        asked = _now()
        try:
            pulled = await site.manifests.pull(route, reference)
        except MirrorError as error:
            return type(error).__name__
        finally:
            self._check(_now() - asked <= ANSWER_SECONDS, f"{reference} was answered after {_now() - asked:.1f} s")
        digest = pulled.manifest.digest
        self._check(digest.verifies(pulled.manifest.data), f"{reference}: a manifest with wrong bytes")
        if isinstance(reference, Digest):
            self._check(digest == reference, f"{reference}: another manifest")
            return "complete"
        is_stale = pulled.status.outcome is Outcome.STALE
        oldest = asked - TAG_TTL - (STALE_IF_ERROR if is_stale else 0)
        self._check(digest in self._origin.named_between(oldest, _now()), f"the tag was not {digest} for too long")
        return "stale" if is_stale else "complete"


def _now() -> float:
    return asyncio.get_running_loop().time()
