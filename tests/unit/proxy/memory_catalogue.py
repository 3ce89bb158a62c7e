"""A cache as operators see it, in memory: what is recorded and stored, and what is swept from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from mirror.oci.children import Child
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX, OCI_MANIFEST
from mirror.oci.reference import Repository
from mirror.proxy.freshness import TagRecord
from mirror.proxy.operations.catalogue import FileUse, Snapshot
from mirror.proxy.operations.naming import FullName
from mirror.proxy.operations.purge import Swept
from mirror.proxy.routing import Route

SIZE = 100


def named(text: str) -> FullName:
    """Return `name:tag` or `name@digest` of Docker Hub."""
    return FullName.parse(f"docker.io/library/{text}")


def digest_of(text: str) -> Digest:
    return Digest.of(text.encode())


@dataclass
class MemoryCatalogue:
    """Tags, variants, grants, manifests with their children, files of 100 bytes each, and pins; also its Sweeper."""

    tags: dict[FullName, TagRecord] = field(default_factory=dict)
    variants: dict[FullName, tuple[TagRecord, ...]] = field(default_factory=dict)
    granted: dict[Route, frozenset[Digest]] = field(default_factory=dict)
    children: dict[Digest, tuple[Child, ...]] = field(default_factory=dict)
    files: dict[Digest, FileUse] = field(default_factory=dict)
    pins: dict[FullName, Digest | None] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    async def look(self) -> Snapshot:
        types = {
            digest: OCI_INDEX if any(child.is_manifest for child in children) else OCI_MANIFEST
            for digest, children in self.children.items()
        }
        tables = (self.tags, self.variants, self.granted, types, self.files, self.pins)
        return Snapshot(*(dict(table) for table in tables))  # type: ignore[arg-type]  # each is what it is

    async def contents(self, digest: Digest) -> tuple[Child, ...]:
        return self.children.get(digest, ()) if digest in self.files else ()

    async def forget(self, tags: Collection[FullName], route: Route, granted: Collection[Digest]) -> None:
        self.steps.append("forget")
        for tag in tags:
            self.tags.pop(tag, None)
            self.variants.pop(tag, None)
        self.granted[route] = self.granted.get(route, frozenset()) - frozenset(granted)

    async def forget_repository(self, route: Route) -> None:
        self.steps.append("forget all")
        self.granted.pop(route, None)

    async def remove(self, digests: Iterable[Digest]) -> Swept:
        self.steps.append("remove")
        gone = [self.files.pop(digest) for digest in digests if digest in self.files]
        return Swept(len(gone), sum(use.size for use in gone), 0)

    # Filling it. -----------------------------------------------------------------------------------------

    def store(self, *names: str, used_at: float = 0.0) -> None:
        """Store files."""
        for name in names:
            self.files[digest_of(name)] = FileUse(SIZE, used_at)

    def manifest(self, name: str, *blobs: str, manifests: Iterable[str] = ()) -> Digest:
        """Store a manifest of blobs, which are stored as well, or of manifests, which need not be."""
        self.store(name, *blobs)
        children = [Child(digest_of(blob), size=SIZE) for blob in blobs]
        children += [Child(digest_of(inner), size=SIZE, is_manifest=True) for inner in manifests]
        self.children[digest_of(name)] = tuple(children)
        return digest_of(name)

    def tag(self, text: str, name: str, validated_at: float = 0.0, *, variant: bool = False) -> FullName:
        """Have a tag point to a manifest, for all clients or as a variant; grant what it holds."""
        tag, record = named(text), TagRecord(digest_of(name), validated_at)
        if variant:
            self.variants[tag] = (*self.variants.get(tag, ()), record)
        else:
            self.tags[tag] = record
        self.grant(tag.route, name)
        return tag

    def grant(self, route: Route, name: str) -> None:
        """Grant a manifest and all below it, or a blob, to a repository."""
        children = [child.digest for child in self.children.get(digest_of(name), ())]
        self.granted[route] = self.granted.get(route, frozenset()) | {digest_of(name), *children}


ALPINE = Route("docker.io", Repository("library/alpine"))
DEBIAN = Route("docker.io", Repository("library/debian"))
