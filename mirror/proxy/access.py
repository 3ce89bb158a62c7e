"""Access: a repository serves a digest only after its upstream said yes for that very repository.

Bytes are shared on disk; the right to read them is not. Knowing a digest, or having it through another
repository, opens nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mirror.errors import Refused, UpstreamUnavailable
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import CacheStatus, Kind, Outcome
from mirror.proxy.deadline import answer_within
from mirror.proxy.failures import Failures
from mirror.proxy.interfaces.store import Records
from mirror.proxy.routing import Route
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks

Ask = Callable[[], Awaitable[object]]
"""A HEAD to upstream; it raises Refused if the answer is no."""


class Access:
    """Grants of (upstream, repository, digest), and how a missing one is obtained."""

    def __init__(self, records: Records, failures: Failures, tasks: Tasks) -> None:
        self._records = records
        self._failures = failures
        self._flights = SingleFlight[None](tasks)

    async def granted(self, route: Route, digest: Digest) -> bool:
        """Tell whether `route` may serve `digest`, asking nobody."""
        return await self._records.granted(route, digest)

    def recalled(self, route: Route, digest: Digest) -> Callable[[], bool]:
        """Return what tells at any time whether `route` may serve `digest`, as far as that is in memory."""
        return self._records.recalls_grant(route, digest)

    async def confirm(self, kind: Kind, route: Route, digest: Digest, ask: Ask) -> bool:
        """Make sure that `route` may serve `digest`, asking upstream by `ask` if that is not known yet.

        Returns whether upstream was asked. Raises Refused if it says no, UpstreamUnavailable if it cannot say.
        """
        if await self._records.granted(route, digest):
            return False
        await self._flights.run((kind, route, digest), lambda: self._confirm(kind, route, digest, ask))
        return True

    async def _confirm(self, kind: Kind, route: Route, digest: Digest, ask: Ask) -> None:
        await self._failures.recall(kind, route, digest)
        try:
            async with answer_within():
                await ask()
        except (Refused, UpstreamUnavailable) as error:
            await self._failures.remember(kind, route, digest, error)
            raise
        await self._records.grant(route, digest)


def confirmed_status(asked: bool) -> CacheStatus:
    """Return the status of stored content that may be served, by whether upstream had to be asked for that."""
    return CacheStatus(Outcome.REVALIDATED, detail="access-confirmed") if asked else CacheStatus(Outcome.HIT)
