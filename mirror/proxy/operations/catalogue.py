"""What is cached, seen as images: what each of them holds, and what it shares with others.

An image is a tag, or a manifest that was pulled by its digest and that no other image of its repository holds.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.children import Child
from mirror.oci.digest import Digest
from mirror.proxy.freshness import TagRecord
from mirror.proxy.operations.naming import FullName
from mirror.proxy.routing import Route

Pins = Mapping[FullName, Digest | None]
"""What is pinned, and which manifest it was when that was last known."""


@dataclass(frozen=True, slots=True)
class FileUse:
    """A committed file: `size` in bytes, and when it was last used (epoch seconds).

    `absent` is for how many seconds since then no mirror ran; they do not count as age.
    """

    size: int
    used_at: float
    absent: float = 0.0


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

    def manifests(self, name: FullName) -> tuple[Digest, ...]:
        """Return what a name is, stored or not: of a tag what it points to, then what it is to other clients."""
        if isinstance(name.reference, Digest):
            return (name.reference,)
        records = [record for record in (self.tags.get(name), *self.variants.get(name, ())) if record is not None]
        return tuple(dict.fromkeys(record.digest for record in records))

    def stored(self, name: FullName) -> tuple[Digest, ...]:
        """Return those of these that are stored."""
        return tuple(digest for digest in self.manifests(name) if self.is_manifest(digest))

    def record(self, name: FullName) -> TagRecord | None:
        """Return what upstream said of a tag; where it said something only to some clients, the last of that."""
        latest = max(self.variants.get(name, ()), key=lambda record: record.validated_at, default=None)
        return self.tags.get(name, latest)

    def pinned(self, pin: FullName) -> frozenset[Digest]:
        """Return the manifests that a pin keeps; of a tag that upstream has deleted, also what it was last."""
        last = None if pin in self.tags else self.pins.get(pin)
        return frozenset(self.manifests(pin)) | ({last} if last is not None else set())


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
    """The images of a cache: which stored manifests each is, first what it is for most clients; what these hold."""

    snapshot: Snapshot
    roots: Mapping[FullName, tuple[Digest, ...]]
    held: Mapping[Digest, frozenset[Digest]]

    def size(self, digests: Iterable[Digest]) -> int:
        """Return the bytes on disk of those that are stored."""
        files = self.snapshot.files
        return sum(files[digest].size for digest in digests if digest in files)

    def all_of(self, roots: Iterable[Digest]) -> frozenset[Digest]:
        """Return these manifests with all they hold."""
        return frozenset[Digest]().union(*(self.held.get(root, {root}) for root in roots))

    async def unshared(self) -> dict[tuple[Digest, ...], int]:
        """Return for all that images are the bytes that would go with it: no other image holds them."""
        all_held: dict[tuple[Digest, ...], frozenset[Digest]] = {}
        holders = Counter[Digest]()
        for roots in set(self.roots.values()):
            all_held[roots] = self.all_of(roots)
            holders.update(all_held[roots])
            await asyncio.sleep(0)
        found: dict[tuple[Digest, ...], int] = {}
        for roots, held in all_held.items():
            found[roots] = self.size(digest for digest in held if holders[digest] == 1)
            await asyncio.sleep(0)
        return found


async def images_of(snapshot: Snapshot, contents: Contents) -> Images:
    """Return all images that are stored, whole or in part."""
    names = snapshot.tags.keys() | snapshot.variants.keys()
    roots = {name: stored for name in names if (stored := snapshot.stored(name))}
    named: dict[Route, set[Digest]] = defaultdict(set)
    for name, stored in roots.items():
        named[name.route].update(stored)
    held: dict[Digest, frozenset[Digest]] = {}
    for digest in {digest for found in (*named.values(), *snapshot.granted.values()) for digest in found}:
        if snapshot.is_manifest(digest):
            held[digest] = await held_by(digest, contents)
            # What is in memory takes no turn of its own, and there may be tens of thousands.
            await asyncio.sleep(0)
    for route, granted in snapshot.granted.items():
        await asyncio.sleep(0)
        others = {digest for digest in granted if digest in held} - named[route]
        inner = {digest for outer in others | named[route] for digest in held[outer] - {outer}}
        roots |= {FullName(route, digest): (digest,) for digest in others - inner}
    return Images(snapshot, roots, held)
