"""Upstreams as anybody sees them, and what of that outlives the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mirror.oci.reference import Reference, Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.routing import Route


class Viewer(Protocol):
    """A registry as a client of it sees it."""

    async def look(self, repository: Repository, kind: Kind, reference: Reference | None) -> None:
        """Return if this client may read it; the reference is None for the tags of the repository.

        Raises Refused for the registry's own no, UpstreamUnavailable where it did not say.
        """


@dataclass(frozen=True, slots=True)
class Sighting:
    """When anybody could read something of a repository (epoch seconds), and what."""

    at: float
    kind: Kind
    reference: Reference | None


class Sightings(Protocol):
    """What outlives the process: what was public when, and whose content credentials have opened."""

    async def public(self, route: Route) -> Sighting | None:
        """Return what was last seen of the repository to be public; None if nothing ever was, or not any more."""

    async def put_public(self, route: Route, sighting: Sighting) -> None:
        """Note what was public."""

    async def forget_public(self, route: Route) -> None:
        """It is not any more, or may not be."""

    async def credentialed(self, upstream: str) -> bool:
        """Tell whether the cache may hold what credentials have opened; True where that cannot be told."""

    async def put_credentialed(self, upstream: str) -> None:
        """Note that from now on it may."""
