"""The size of a blob that is not in the cache: one HEAD for all who ask, its failure remembered, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping

from mirror.errors import Refused, UpstreamUnavailable
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import answer_within
from mirror.proxy.failures import Failures
from mirror.proxy.interfaces.store import Records
from mirror.proxy.interfaces.upstream import Upstream
from mirror.proxy.routing import Route
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks


class BlobSize:
    """Asks upstreams how large a blob is, and whether it is there at all."""

    def __init__(self, upstreams: Mapping[str, Upstream], records: Records, failures: Failures, tasks: Tasks) -> None:
        self._upstreams = upstreams
        self._records = records
        self._failures = failures
        self._flights = SingleFlight[int | None](tasks)

    async def ask(self, route: Route, digest: Digest) -> int | None:
        """Return the size in bytes, None where upstream does not tell; a yes is a grant.

        Raises Refused or UpstreamUnavailable with what upstream said.
        """
        size, _ = await self._flights.run((route, digest), lambda: self._ask(route, digest))
        return size

    async def _ask(self, route: Route, digest: Digest) -> int | None:
        await self._failures.recall(Kind.BLOB, route, digest)
        try:
            async with answer_within():
                size = await self._upstreams[route.upstream].head_blob(route.repository, digest)
        except (Refused, UpstreamUnavailable) as error:
            await self._failures.remember(Kind.BLOB, route, digest, error)
            raise
        await self._records.grant(route, digest)
        return size
