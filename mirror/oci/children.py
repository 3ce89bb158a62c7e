"""What a manifest refers to: its config and layers, or the manifests of an index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mirror.errors import InvalidDigest
from mirror.oci.digest import Digest
from mirror.oci.media_types import without_parameters

_PLATFORM_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


@dataclass(frozen=True, slots=True)
class Child:
    """What a manifest says of something it refers to, as far as that is well-formed.

    `size` is in bytes, None where it is not told; `platform` is like `linux/arm64/v8`, empty where there is none.
    """

    digest: Digest
    media_type: str = ""
    size: int | None = None
    platform: str = ""
    is_manifest: bool = False
    is_elsewhere: bool = False
    """Whether it names places of its own where it is to be had."""

    @property
    def is_blob(self) -> bool:
        """Tell whether it is a blob that registries have; they do not have layers that may not be distributed."""
        kinds = (".foreign.", "nondistributable")
        return not self.is_manifest and not any(kind in self.media_type for kind in kinds)


def children_of(data: bytes) -> tuple[Digest, ...]:
    """Return the digests that a manifest refers to, in order; none for a document that is not understood."""
    return tuple(child.digest for child in described_in(data))


def described_in(data: bytes) -> tuple[Child, ...]:
    """Return what a manifest refers to, in order and each once; nothing for a document that is not understood."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    found: dict[Digest, Child] = {}
    for child in _children(document):
        found.setdefault(child.digest, child)
    return tuple(found.values())


def _children(document: Any) -> Iterator[Child]:
    if not isinstance(document, dict):
        return
    for field in ("manifests", "layers", "blobs"):
        listed = document.get(field)
        for descriptor in listed if isinstance(listed, list) else []:
            yield from _child(descriptor, is_manifest=field == "manifests")
    yield from _child(document.get("config"), is_manifest=False)


def _child(descriptor: Any, *, is_manifest: bool) -> Iterator[Child]:
    try:
        digest = Digest.parse(descriptor["digest"])
    except (InvalidDigest, KeyError, TypeError, AttributeError):
        return
    media_type, size = descriptor.get("mediaType"), descriptor.get("size")
    yield Child(
        digest,
        without_parameters(media_type) if isinstance(media_type, str) else "",
        size if type(size) is int and size >= 0 else None,
        _platform(descriptor.get("platform")),
        is_manifest,
        bool(descriptor.get("urls")),
    )


def _platform(platform: Any) -> str:
    if not isinstance(platform, dict):
        return ""
    parts = [platform.get(field) for field in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if isinstance(part, str) and _PLATFORM_PART.fullmatch(part))
