"""What is cached, seen as images: what each of them holds, and what it shares with others.

An image is a tag, or a manifest that was pulled by its digest and that no other image of its repository holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.children import Child
from mirror.oci.digest import Digest
from mirror.proxy.freshness import TagRecord
from mirror.proxy.naming import FullName
from mirror.proxy.routing import Route

Pins = Mapping[FullName, Digest | None]
"""What is pinned, and which manifest it was when that was last known."""


@dataclass(frozen=True, slots=True)
class FileUse:
    """A committed file: `size` in bytes, and when it was last used (epoch seconds)."""

    size: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was recorded and all that was stored at one moment, of every process of the cache."""

    tags: Mapping[FullName, TagRecord]
    variants: Mapping[FullName, tuple[TagRecord, ...]]
    """What tags are to clients that do not take what they point to."""
    granted: Mapping[Route, frozenset[Digest]]
    types: Mapping[Digest, str]
    """The media types of manifests, stored ones and others."""
    files: Mapping[Digest, FileUse]
    pins: Pins

    def is_manifest(self, digest: Digest) -> bool:
        """Tell whether this is a manifest that is stored."""
        return digest in self.types and digest in self.files

    def pinned_root(self, pin: FullName) -> Digest | None:
        """Return the manifest that a pin keeps; for a tag that upstream has deleted, what it was last."""
        if isinstance(pin.reference, Digest):
            return pin.reference
        record = self.tags.get(pin)
        return self.pins.get(pin) if record is None else record.digest


Contents = Callable[[Digest], Awaitable[tuple[Child, ...]]]
"""Tells what a stored manifest refers to; nothing where there is no such manifest."""


class Catalogue(Protocol):
    """The cache as it is; looking is no use of anything. Raises StoreFailed where the disk cannot be read."""

    async def look(self) -> Snapshot:
        """Return what there is."""

    async def contents(self, digest: Digest) -> tuple[Child, ...]:
        """Return what a stored manifest refers to; nothing where there is no such manifest."""


async def held_by(root: Digest, contents: Contents) -> frozenset[Digest]:
    """Return the manifest `root` and everything below it, stored or not."""
    held, pending = {root}, [root]
    while pending:
        children = await contents(pending.pop())
        # Only manifests have children; what a broken document calls one and is none has no contents.
        pending += [child.digest for child in children if child.is_manifest and child.digest not in held]
        held.update(child.digest for child in children)
    return frozenset(held)


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a cache: which manifest each is, and what these hold."""

    snapshot: Snapshot
    roots: Mapping[FullName, Digest]
    held: Mapping[Digest, frozenset[Digest]]

    def size(self, digests: Iterable[Digest]) -> int:
        """Return the bytes on disk of those that are stored."""
        files = self.snapshot.files
        return sum(files[digest].size for digest in digests if digest in files)

    def unshared(self) -> dict[Digest, int]:
        """Return for each manifest that is an image the bytes that would go with it: no other one holds them."""
        holders = Counter(digest for root in set(self.roots.values()) for digest in self.held[root])
        return {
            root: self.size(digest for digest in self.held[root] if holders[digest] == 1)
            for root in set(self.roots.values())
        }


async def images_of(snapshot: Snapshot, contents: Contents) -> Images:
    """Return all images that are stored, whole or in part."""
    roots = {name: record.digest for name, record in snapshot.tags.items() if snapshot.is_manifest(record.digest)}
    held: dict[Digest, frozenset[Digest]] = {}
    for digest in {*roots.values(), *(digest for granted in snapshot.granted.values() for digest in granted)}:
        if snapshot.is_manifest(digest):
            held[digest] = await held_by(digest, contents)
    for route, granted in snapshot.granted.items():
        named = {digest for name, digest in roots.items() if name.route == route}
        others = {digest for digest in granted if digest in held} - named
        inner = {digest for outer in others | named for digest in held[outer] - {outer}}
        roots |= {FullName(route, digest): digest for digest in others - inner}
    return Images(snapshot, roots, held)
