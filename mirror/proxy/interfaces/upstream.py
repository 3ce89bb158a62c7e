"""An upstream as the core asks it: manifests, and blobs from wherever they are still wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository

Data = bytes | memoryview
"""Bytes of a blob; where they are not their own, whoever gave them says how long they are good."""

LASTING = 4 * 1024 * 1024
"""Where no more bytes than these are to come, they are good for as long as somebody holds them."""


@dataclass(frozen=True, slots=True)
class Validator:
    """The strong entity tag of an object, and the endpoint that gave it: to another one it means nothing."""

    tag: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Rest:
    """What is still to be fetched of a blob: everything from byte `start` on, or what of it is before `stop`.

    `validator` is that of the object before, None where it is not known; `attempt` counts the tries, so that each
    begins with another endpoint. It `is_retry` if the try before brought nothing.
    """

    start: int = 0
    validator: Validator | None = None
    attempt: int = 0
    is_retry: bool = False
    stop: int | None = None


WHOLE = Rest()
"""All of a blob, asked for the first time."""


class Transfer(Protocol):
    """The body of a blob on its way from upstream."""

    @property
    def start(self) -> int:
        """Where in the blob these bytes begin: as asked, or 0 where upstream sends the object anew."""

    @property
    def stop(self) -> int | None:
        """Where in the blob these bytes end, None at the end of the blob."""

    @property
    def size(self) -> int | None:
        """The length of the whole blob in bytes, None where upstream did not say."""

    @property
    def validator(self) -> Validator | None:
        """What tells this object from another, None if upstream did not say."""

    async def read(self, most: int | None = None) -> Data:
        """Return the next bytes, no more than `most` if that is given, empty at the end.

        They are good until two more calls have been made, or for good (see LASTING).

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
