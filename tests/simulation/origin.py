"""What upstream has, in truth, and a simulated registry that gives it as well or as badly as the seed says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mirror.errors import (
    BlobUnknown,
    Denied,
    ManifestUnknown,
    MirrorError,
    UpstreamFailed,
    UpstreamThrottled,
    UpstreamUnreachable,
)
from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Reference, Repository, Tag
from mirror.proxy.interfaces.upstream import WHOLE, Rest, Validator
from tests.simulation.chance import Chance
from tests.simulation.scale import LARGEST_PIECE

ETAG = Validator('"1"', "https://registry.example")


def manifest(content: bytes) -> Manifest:
    """A manifest of these bytes."""
    return Manifest(Digest.of(content), OCI_MANIFEST, content)


@dataclass
class Origin:
    """The truth: blobs, manifests, which manifest the tag named when, and who may have what."""

    chance: Chance
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    tagged: list[tuple[float, Digest | None]] = field(default_factory=list)
    closed: set[Repository] = field(default_factory=set)
    """Repositories that nothing may be had through now."""
    never_open: set[Repository] = field(default_factory=set)
    """Repositories that nothing may ever be had through."""
    is_down: bool = False
    lied_about: set[Digest] = field(default_factory=set)
    """What came with wrong bytes at least once."""
    transfers: dict[Digest, list[SimulatedTransfer]] = field(default_factory=dict)
    """Those that are open."""
    overlapped: set[Digest] = field(default_factory=set)
    """What was on its way twice at once."""

    def put_blob(self, data: bytes) -> Digest:
        """Have this blob."""
        digest = Digest.of(data)
        self.blobs[digest] = data
        return digest

    def move_tag(self, content: bytes | None, now: float) -> None:
        """Let the tag name a manifest of these bytes from now on, or nothing."""
        if content is not None:
            made = manifest(content)
            self.manifests[made.digest] = made
        self.tagged.append((now, None if content is None else Digest.of(content)))

    def named_between(self, start: float, stop: float) -> set[Digest | None]:
        """Return all that the tag named at any instant of that time."""
        later = [moved for moved, _ in self.tagged[1:]] + [float("inf")]
        return {
            named for (moved, named), until in zip(self.tagged, later, strict=True) if moved <= stop and until >= start
        }


class SimulatedUpstream:
    """The origin as one process reaches it."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._chance = origin.chance
        self._open: list[SimulatedTransfer] = []

    def cut_off(self) -> None:
        """The process is gone, and its connections with it."""
        for transfer in list(self._open):
            transfer.close()

    async def head_manifest(self, repository: Repository, reference: Reference) -> Descriptor | None:
        await self._answer(repository)
        return None if self._chance.strikes("no head length") else self._manifest(reference).descriptor

    async def get_manifest(self, repository: Repository, reference: Reference) -> Manifest:
        await self._answer(repository)
        return self._manifest(reference)

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        await self._answer(repository)
        size = len(self._blob(digest))
        return None if self._chance.strikes("no head length") else size

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest = WHOLE) -> SimulatedTransfer:
        await self._answer(repository)
        data = self._blob(digest)
        start = 0 if self._chance.strikes("range ignored") else min(rest.start, len(data))
        transfer = SimulatedTransfer(self._origin, digest, start, self._open)
        opened = self._origin.transfers.setdefault(digest, [])
        if opened:
            self._origin.overlapped.add(digest)
        opened.append(transfer)
        self._open.append(transfer)
        return transfer

    async def _answer(self, repository: Repository) -> None:
        chance = self._chance
        await asyncio.sleep(chance.uniform(2, 30) if chance.strikes("late") else chance.uniform(0, 0.2))
        if chance.strikes("silent"):
            await asyncio.sleep(3600)
        troubles: dict[str, MirrorError] = {
            "refused": Denied("not now"),
            "throttled": UpstreamThrottled("429", 1),
            "failed": UpstreamFailed("500"),
        }
        for fault, error in troubles.items():
            if chance.strikes(fault):
                raise error
        if self._origin.is_down:
            raise UpstreamUnreachable("down")
        if repository in self._origin.closed | self._origin.never_open:
            raise Denied("private")

    def _blob(self, digest: Digest) -> bytes:
        if digest not in self._origin.blobs:
            raise BlobUnknown("404")
        return self._origin.blobs[digest]

    def _manifest(self, reference: Reference) -> Manifest:
        digest = self._origin.tagged[-1][1] if isinstance(reference, Tag) else reference
        if digest is None or digest not in self._origin.manifests:
            raise ManifestUnknown("404")
        return self._origin.manifests[digest]


class SimulatedTransfer:
    """Bytes of a blob, in pieces, until the seed has something against it."""

    def __init__(self, origin: Origin, digest: Digest, start: int, opened: list[SimulatedTransfer]) -> None:
        self._origin = origin
        self._chance = origin.chance
        self._digest = digest
        self._opened = opened
        self._offset = start
        self._is_closed = False
        self._data = self._sent(origin.blobs[digest])
        self._pause = self._chance.uniform(1, 20) if self._chance.strikes("trickle") else 0.0
        self.start = start
        self.validator = self._chance.choice((ETAG, None))
        self.stop: int | None = None
        self.size = self._declared()

    def _sent(self, data: bytes) -> bytes:
        if data and self._chance.strikes("other bytes"):
            self._origin.lied_about.add(self._digest)
            at = self._chance.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        if self._chance.strikes("short"):
            data = data[: self._chance.randint(0, len(data))]
        if self._chance.strikes("long"):
            self._origin.lied_about.add(self._digest)
            data += b"more"
        return data

    def _declared(self) -> int | None:
        size = len(self._origin.blobs[self._digest])
        if self._chance.strikes("other length"):
            self._origin.lied_about.add(self._digest)
            return max(0, size + self._chance.randint(-10, 10))
        return None if self._chance.strikes("no length") else size

    async def read(self, most: int | None = None) -> bytes:
        await asyncio.sleep(self._pause or self._chance.choice((0, 0, 0.001, 0.05)))
        if self._origin.is_down or self._chance.strikes("cut"):
            raise UpstreamUnreachable("reset")
        if self._chance.strikes("stall"):
            await asyncio.sleep(self._chance.uniform(5, 100))
        assert not self._is_closed, "a closed transfer is read"
        size = 1 if self._pause else self._chance.randint(1, LARGEST_PIECE)
        piece = self._data[self._offset : self._offset + min(size, most or size)]
        self._offset += len(piece)
        return piece

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._origin.transfers[self._digest].remove(self)
            self._opened.remove(self)
