"""The store as the core asks it: blobs and manifests at rest, and what upstreams said of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.reference import Tag, Variant
from mirror.proxy.freshness import TagRecord
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.interfaces.fills import FollowedFile, PartialFile, Passage
from mirror.proxy.routing import Route


class BlobStore(Protocol):
    """Verified content at rest, by digest."""

    async def open(self, digest: Digest) -> Body | None:
        """Return the committed blob, or None; a blob that is open is not evicted."""

    def at_hand(self, digest: Digest) -> Body | None:
        """The same, if nothing has to be waited for and the blob is what it was taken for; else None."""

    async def claim(self, digest: Digest) -> PartialFile | None:
        """Return the partial file of this digest to write, with what an earlier writer left; None if it has a writer.

        Raises StoreFailed where the disk takes no files.
        """

    async def follow(self, digest: Digest) -> FollowedFile | None:
        """Return the partial file that another writes, None if there is none any more; raises StoreFailed."""

    def passage(self, digest: Digest) -> Passage:
        """Return a passage for a whole blob that cannot be kept; raises StoreFailed if there are too many."""

    def admits(self, size: int) -> bool:
        """Tell whether a blob of this many bytes can be kept at all."""


class ManifestStore(Protocol):
    """Verified manifests at rest, with their media types."""

    async def get(self, digest: Digest) -> Manifest | None:
        """Return the manifest, or None where it or its media type is not known."""

    def at_hand(self, digest: Digest) -> Manifest | None:
        """Return the manifest, which is used now, if it is in memory; None after anything was purged."""

    def turn(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Return a context that one process of a cache at a time is in: to fetch the manifest, if it still has to."""

    async def put(self, manifest: Manifest) -> None:
        """Keep the manifest; raises StoreFailed."""


class Records(Protocol):
    """What upstreams said: tags, and grants. Losing them costs requests, never correctness."""

    async def tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        """Return what the tag pointed to when this process last looked; that may be a while ago."""

    async def latest_tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        """Return what the tag points to according to any process."""

    async def put_tag(self, route: Route, tag: Tag | Variant, record: TagRecord) -> None:
        """Note what the tag points to."""

    async def forget_tag(self, route: Route, tag: Tag | Variant) -> None:
        """Forget the tag."""

    async def credentialed(self, upstream: str) -> bool:
        """Tell whether credentials may have opened what is known of this upstream; True where that cannot be told."""

    async def granted(self, route: Route, digest: Digest) -> bool:
        """Tell whether upstream has said yes to this digest in this repository."""

    async def grant(self, route: Route, digest: Digest) -> None:
        """Note that upstream said yes."""

    def knows_tag(self, route: Route, tag: Tag) -> Callable[[], TagRecord | None]:
        """Return what tells at any time what is in memory of a tag, even if it was purged; None if nothing is."""

    def knows_grant(self, route: Route, digest: Digest) -> Callable[[], bool]:
        """Return what tells at any time whether a grant is in memory, even if it was purged."""

    def recalls_grant(self, route: Route, digest: Digest) -> Callable[[], bool]:
        """Return what tells at any time whether a grant is in memory; it hears of purges first."""


class ShortLivedCache(Protocol):
    """A bounded memory of small strings that forget themselves."""

    async def get(self, key: str) -> str | None:
        """Return the value while it lives."""

    def at_hand(self, key: str) -> str | None:
        """Return the value while it lives, if nothing has to be waited for."""

    async def set(self, key: str, value: str, seconds: float) -> None:
        """Remember `value` for so long; not at all if `seconds` is not positive."""

    async def delete(self, key: str) -> None:
        """Forget the key."""
