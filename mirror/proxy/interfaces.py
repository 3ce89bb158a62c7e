"""What the core asks of the outer parts: upstreams, the store, its records, and short-lived memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository, Tag
from mirror.proxy.freshness import TagRecord
from mirror.proxy.routing import Route

Clock = Callable[[], float]
"""Wall-clock time in seconds since the epoch."""


class Transfer(Protocol):
    """The body of a blob on its way from upstream; `size` in bytes, None where upstream did not say."""

    @property
    def size(self) -> int | None:
        """The length upstream declared."""

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end; raises UpstreamUnavailable when the transfer is cut."""

    def close(self) -> None:
        """Let go of the connection; harmless when repeated."""


class Upstream(Protocol):
    """One registry as a client sees it.

    Every method raises Refused for upstream's own no, and UpstreamUnavailable when nothing was learned.
    """

    async def head_manifest(self, repository: Repository, reference: Reference) -> Descriptor | None:
        """Return what the reference points to; None if upstream has it but does not tell its digest."""

    async def get_manifest(self, repository: Repository, reference: Reference) -> Manifest:
        """Return the manifest, verified against the digest that was asked for or declared."""

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        """Return the size of the blob in bytes; None if upstream has it but does not tell."""

    async def get_blob(self, repository: Repository, digest: Digest) -> Transfer:
        """Begin to fetch the blob; the bytes of the transfer are not verified."""


class OpenFile(Protocol):
    """A file held open for reading, whatever happens to its name."""

    def fileno(self) -> int:
        """Return the descriptor; read it only at explicit offsets."""

    async def load(self, start: int, stop: int) -> None:
        """Make sure that reading this range does not wait for the disk; raises StoreFailed."""

    def close(self) -> None:
        """Let go; harmless when repeated."""


class Body(OpenFile, Protocol):
    """The bytes of a blob, complete or still growing."""

    @property
    def size(self) -> int | None:
        """The length of the whole blob; None while nobody knows."""

    async def sendable(self, offset: int) -> int:
        """Wait until bytes behind `offset` may be sent and return where they end; `offset` at the very end.

        Bytes may be sent before the digest is verified, the last ones never. Raises BodyCut when the rest
        will not come.
        """


class PartialFile(Protocol):
    """A file being written: appended to by one fill, read by anybody. Raises StoreFailed throughout."""

    async def append(self, data: bytes) -> None:
        """Write `data` at the end and hash it."""

    def verified(self) -> bool:
        """Tell whether the bytes so far have the digest."""

    async def commit(self) -> None:
        """Make the file durable and give it its name among the blobs; it must be verified."""

    async def discard(self) -> None:
        """Take the file's name away; readers keep it open."""

    def reader(self) -> OpenFile:
        """Return the file open for reading, independent of this writer."""

    async def close(self) -> None:
        """Let go of the file; harmless when repeated."""


class BlobStore(Protocol):
    """Verified content at rest, by digest."""

    async def open(self, digest: Digest) -> Body | None:
        """Return the committed blob, or None; a blob that is open is not evicted."""

    async def begin(self, digest: Digest) -> PartialFile:
        """Return a new partial file; raises StoreFailed."""

    def admits(self, size: int) -> bool:
        """Tell whether a blob of this many bytes can be kept at all."""


class ManifestStore(Protocol):
    """Verified manifests at rest, with their media types."""

    async def get(self, digest: Digest) -> Manifest | None:
        """Return the manifest, or None where it or its media type is not known."""

    async def put(self, manifest: Manifest) -> None:
        """Keep the manifest; raises StoreFailed."""


class Records(Protocol):
    """What upstreams said: tags, and grants. Losing them costs requests, never correctness."""

    async def tag(self, route: Route, tag: Tag) -> TagRecord | None:
        """Return what the tag last pointed to."""

    async def put_tag(self, route: Route, tag: Tag, record: TagRecord) -> None:
        """Note what the tag points to."""

    async def forget_tag(self, route: Route, tag: Tag) -> None:
        """Forget the tag."""

    async def granted(self, route: Route, digest: Digest) -> bool:
        """Tell whether upstream has said yes to this digest in this repository."""

    async def grant(self, route: Route, digest: Digest) -> None:
        """Note that upstream said yes."""


class ShortLivedCache(Protocol):
    """A bounded memory of small strings that forget themselves."""

    async def get(self, key: str) -> str | None:
        """Return the value while it lives."""

    async def set(self, key: str, value: str, seconds: float) -> None:
        """Remember `value` for so long; not at all if `seconds` is not positive."""

    async def delete(self, key: str) -> None:
        """Forget the key."""
