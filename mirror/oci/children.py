"""What a manifest refers to: its config and layers, or the manifests of an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mirror.errors import InvalidDigest
from mirror.oci.digest import Digest


def children_of(data: bytes) -> tuple[Digest, ...]:
    """Return the digests that a manifest refers to, in order; none for a document that is not understood."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    return tuple(dict.fromkeys(_digests(document)))


def _digests(document: Any) -> Iterator[Digest]:
    if not isinstance(document, dict):
        return
    lists = [document.get(field) for field in ("manifests", "layers", "blobs")]
    listed = [entry for entries in lists if isinstance(entries, list) for entry in entries]
    for descriptor in (*listed, document.get("config")):
        try:
            yield Digest.parse(descriptor["digest"])
        except (InvalidDigest, KeyError, TypeError, AttributeError):
            continue
