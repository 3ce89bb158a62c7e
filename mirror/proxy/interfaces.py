"""What the core asks of the outer parts: upstreams, the store, its records, and short-lived memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository, Tag, Variant
from mirror.proxy.fills.progress import FillState
from mirror.proxy.freshness import TagRecord
from mirror.proxy.routing import Route

Clock = Callable[[], float]
"""Wall-clock time in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Validator:
    """The strong entity tag of an object, and the endpoint that gave it: to another one it means nothing."""

    tag: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Rest:
    """What is still to be fetched of a blob: everything from byte `start` on.

    `validator` is that of the object before, None where it is not known; `attempt` counts the tries, so that each
    begins with another endpoint. It `is_retry` if the try before brought nothing.
    """

    start: int = 0
    validator: Validator | None = None
    attempt: int = 0
    is_retry: bool = False


WHOLE = Rest()
"""All of a blob, asked for the first time."""


class Transfer(Protocol):
    """The body of a blob on its way from upstream."""

    @property
    def start(self) -> int:
        """Where in the blob these bytes begin: as asked, or 0 where upstream sends the object anew."""

    @property
    def size(self) -> int | None:
        """The length of the whole blob in bytes, None where upstream did not say."""

    @property
    def validator(self) -> Validator | None:
        """What tells this object from another, None if upstream did not say."""

    async def read(self, most: int | None = None) -> bytes:
        """Return the next bytes, no more than `most` if that is given, empty at the end.

        Raises UpstreamUnavailable when the transfer is cut.
        """

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

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest = WHOLE) -> Transfer:
        """Begin to fetch the blob, or what is left of it; the bytes of the transfer are not verified."""


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

    async def verified(self) -> None:
        """Wait until the digest has matched; raises BodyCut if it will not.

        What the reader has not read by then it does not need any more.
        """

    async def doubt(self) -> None:
        """The file did not give the bytes it should have: it is not served again."""


class Sink(Protocol):
    """Where a fill puts its bytes, in order, hashed as they come. Raises StoreFailed throughout."""

    @property
    def size(self) -> int:
        """How many bytes there are, those of an earlier attempt included."""

    async def append(self, data: bytes) -> None:
        """Put `data` at the end."""

    def verified(self) -> bool:
        """Tell whether the bytes so far have the digest."""

    async def close(self) -> None:
        """Let go; harmless when repeated."""


class PartialFile(Sink, Protocol):
    """A file being written: appended to by one fill on this machine, read by anybody."""

    async def expect(self, total: int | None) -> bool:
        """Reserve the room for a blob of `total` bytes, None while nobody knows; False if it cannot be kept."""

    async def holds(self, offset: int, data: bytes) -> bool:
        """Tell whether the file has `data` at `offset`."""

    async def commit(self) -> None:
        """Make the file durable and give it its name among the blobs; it must be verified."""

    async def keep(self) -> None:
        """Leave the file for whoever goes on with it later."""

    async def discard(self) -> None:
        """Take the file's name away; readers keep it open."""

    def reader(self) -> OpenFile:
        """Return the file open for reading, independent of this writer."""

    def continues(self, followed: FollowedFile) -> bool:
        """Tell whether this is the very file that was followed before its writer died."""

    def spill(self) -> Passage:
        """Return a passage for what the disk does not take any more, behind the bytes it has."""


class Passage(Sink, Protocol):
    """Bytes that pass through memory because they cannot be kept: a window that moves on with its readers."""

    @property
    def start(self) -> int:
        """Where in the blob the passage begins; what is before is on disk."""

    @property
    def floor(self) -> int:
        """The first byte that is still there."""

    def at(self, offset: int) -> tuple[OpenFile, int]:
        """Return the file that has the bytes at `offset`, and where its share of them ends. It is not to be closed."""

    def forget(self, before: int) -> None:
        """Let go of bytes that nobody needs any more."""


class FollowedFile(Protocol):
    """A partial file that another process writes. Raises StoreFailed throughout."""

    async def look(self) -> Sighting:
        """Return how far its writer has come."""

    def reader(self) -> OpenFile:
        """Return the file open for reading."""

    async def spill(self, prefix: int) -> Passage:
        """Return a passage for what comes behind the first `prefix` bytes, which are hashed for it."""

    async def close(self) -> None:
        """Let go; harmless when repeated."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """How far another process's fill has come: `prefix` bytes of `total`, None while nobody knows how many.

    `is_agreed` is False while upstream has not agreed to it, `is_written` once its writer has left it.
    """

    prefix: int
    total: int | None
    state: FillState
    is_agreed: bool
    is_written: bool


class BlobStore(Protocol):
    """Verified content at rest, by digest."""

    async def open(self, digest: Digest) -> Body | None:
        """Return the committed blob, or None; a blob that is open is not evicted."""

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


class ShortLivedCache(Protocol):
    """A bounded memory of small strings that forget themselves."""

    async def get(self, key: str) -> str | None:
        """Return the value while it lives."""

    async def set(self, key: str, value: str, seconds: float) -> None:
        """Remember `value` for so long; not at all if `seconds` is not positive."""

    async def delete(self, key: str) -> None:
        """Forget the key."""
