"""What a registry lets its client read (see Viewer)."""

from __future__ import annotations

from mirror.errors import UpstreamInvalid
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

        The referrers of a manifest may be read by whoever may read the manifest. Some registries list no tags where
        they should refuse to, so the tags of a repository may be read by whoever may read what one of them points to.
        """
        if kind is Kind.BLOB and isinstance(reference, Digest):
            await self._client.head_blob(repository, reference)
            return
        named = reference or await self._client.find_tag(repository)
        if named is None:
            raise UpstreamInvalid("upstream lists no tags, which says nothing about who may read the repository")
        if await self._client.head_manifest(repository, named) is None:
            # A registry that knows no HEAD has said neither yes nor no.
            await self._client.get_manifest(repository, named)
