"""The upstream of a mirror that is offline: it refuses at once, so that nobody is asked and nothing is waited for."""

from __future__ import annotations

from mirror.errors import UpstreamOffline
from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.interfaces.upstream import WHOLE, Rest, Transfer

_WHY = "the mirror is offline and this is not in its cache: with offline: false, it can be pulled once, and is kept"


class OfflineUpstream:
    """A registry as one sees it who asks nobody (see ListingUpstream, Viewer)."""

    async def head_manifest(self, repository: Repository, reference: Reference) -> Descriptor | None:
        """Raise UpstreamOffline, as all others do."""
        raise UpstreamOffline(_WHY)

    async def get_manifest(self, repository: Repository, reference: Reference) -> Manifest:
        """Raise UpstreamOffline."""
        raise UpstreamOffline(_WHY)

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        """Raise UpstreamOffline."""
        raise UpstreamOffline(_WHY)

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest = WHOLE) -> Transfer:
        """Raise UpstreamOffline."""
        raise UpstreamOffline(_WHY)

    async def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """Raise UpstreamOffline."""
        raise UpstreamOffline(_WHY)

    async def list_referrers(self, repository: Repository, digest: Digest) -> tuple[str, ...]:
        """Raise UpstreamOffline."""
        raise UpstreamOffline(_WHY)

    async def look(self, repository: Repository, kind: Kind, reference: Reference | None) -> None:
        """Raise UpstreamOffline."""
        raise UpstreamOffline(_WHY)
