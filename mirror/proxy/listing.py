"""What repositories list: their tags, and the referrers of a digest; who is asked for it, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.interfaces.upstream import Upstream
from mirror.proxy.routing import Route


@dataclass(frozen=True, slots=True)
class Listed:
    """Of what there is a list: the tags of a repository, or the referrers of a digest in it."""

    kind: Kind
    route: Route
    digest: Digest | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.route}{f'@{self.digest}' if self.digest else ''}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A whole list, and when upstream last said so (`validated_at`, seconds since the epoch).

    Tags are in their order; each referrer is the JSON text of its descriptor.
    """

    entries: tuple[str, ...]
    validated_at: float


class ListingUpstream(Upstream, Protocol):
    """A registry that lists; its methods raise as those of every upstream do."""

    async def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """Return all tags of the repository, in their order; never a part of them."""

    async def list_referrers(self, repository: Repository, digest: Digest) -> tuple[str, ...]:
        """Return all referrers of the digest; raises ReferrersUnknown where upstream has no such list."""


class ListingStore(Protocol):
    """Lists at rest. Losing one costs a request."""

    async def get(self, listed: Listed) -> Listing | None:
        """Return the list as this process last saw it; that may be a while ago."""

    async def latest(self, listed: Listed) -> Listing | None:
        """Return the list according to any process."""

    async def put(self, listed: Listed, listing: Listing) -> None:
        """Keep the list; raises StoreFailed if it will not survive this process."""

    async def forget(self, listed: Listed) -> None:
        """Forget the list; raises StoreFailed if it may come back with the next process."""
