"""What a registry lets its client read, told by the status of an answer alone (see visibility.Viewer)."""

from __future__ import annotations

from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.proxy.cache_status import Kind
from mirror.upstream.client import RegistryClient


class RegistryViewer:
    """Asks as its client does: anonymously, or with credentials."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    async def look(self, repository: Repository, kind: Kind, reference: Reference | None) -> None:
        """Return if the client may read it; a HEAD, except where the registry knows none.

        The referrers of a manifest may be read by whoever may read the manifest.
        """
        if reference is None:
            await self._client.find_tags(repository)
        elif kind is Kind.BLOB and isinstance(reference, Digest):
            await self._client.head_blob(repository, reference)
        elif await self._client.head_manifest(repository, reference) is None:
            # A registry that knows no HEAD has said neither yes nor no.
            await self._client.get_manifest(repository, reference)
