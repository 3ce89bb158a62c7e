"""`oci-layout` and `index.json`: the cache folder as an OCI image layout, and the copy that records come back from.

Tags are descriptors with their full name as `org.opencontainers.image.ref.name`; other manifests are descriptors
without one; grants are annotations of the index, and so are pins, and the upstreams whose content may have been fetched
with credentials. What clients such as skopeo do not know they pass over.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import Any

from mirror.errors import InvalidDigest, RequestError
from mirror.oci.digest import Digest
from mirror.oci.media_types import MANIFEST_TYPES, OCI_INDEX
from mirror.proxy.freshness import TagRecord
from mirror.store.entries import IndexEntry
from mirror.store.index import Index
from mirror.store.pins import ROW, parse_pins, render_pins
from mirror.store.record_rows import parse_tag_record, render_tag_record

REF_NAME = "org.opencontainers.image.ref.name"
VALIDATED_AT = "mirror.validated-at"
GONE_SINCE = "mirror.gone-since"
GRANTS = "mirror.grants/"
CREDENTIALED = "mirror.credentialed"
PINS = "mirror.pins"

LAYOUT = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()


def render(rows: dict[str, str], index: Index) -> bytes:
    """Return `index.json` for the rows of the records, as far as their manifests are on disk."""
    types = {key.removeprefix("type "): value for key, value in rows.items() if key.startswith("type ")}
    descriptors = _Descriptors(types, index)
    grants: dict[str, list[str]] = defaultdict(list)
    for key, value in sorted(rows.items()):
        kind, _, rest = key.partition(" ")
        if kind == "tag" and (record := parse_tag_record(value)):
            gone = {} if record.gone_since is None else {GONE_SINCE: str(record.gone_since)}
            descriptors.add(str(record.digest), {REF_NAME: rest, VALIDATED_AT: str(record.validated_at), **gone})
        elif kind == "grant":
            repository, _, digest = rest.partition("@")
            grants[GRANTS + repository].append(digest)
        elif kind == "credentialed":
            grants[CREDENTIALED].append(rest)
        elif kind == ROW and value:
            grants[PINS].append(value)
    for digest in types:
        descriptors.add_untagged(digest)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": descriptors.listed,
        "annotations": {repository: " ".join(digests) for repository, digests in grants.items()},
    }
    return json.dumps(document, indent=1).encode()


class _Descriptors:
    """The `manifests` of the index, of files that exist."""

    def __init__(self, types: dict[str, str], index: Index) -> None:
        self.listed: list[dict[str, Any]] = []
        self._types = types
        self._index = index
        self._tagged: set[str] = set()

    def add(self, digest: str, annotations: dict[str, str]) -> None:
        entry = self._entry(digest)
        if entry is not None and digest in self._types:
            self._tagged.add(digest)
            descriptor = {"mediaType": self._types[digest], "digest": digest, "size": entry.size}
            self.listed.append(descriptor | ({"annotations": annotations} if annotations else {}))

    def _entry(self, digest: str) -> IndexEntry | None:
        try:
            return self._index.get(Digest.parse(digest))
        except InvalidDigest:
            return None

    def add_untagged(self, digest: str) -> None:
        if digest not in self._tagged:
            self.add(digest, {})


def parse(data: bytes) -> dict[str, str]:
    """Return the rows that an `index.json` holds; what is damaged or another tool's is left out."""
    rows: dict[str, str] = {}
    try:
        document = json.loads(data)
        descriptors, annotations = document["manifests"], document.get("annotations") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return rows
    for descriptor in descriptors if isinstance(descriptors, list) else []:
        rows.update(_rows_of(descriptor))
    for key, digests in annotations.items() if isinstance(annotations, dict) else []:
        if key.startswith(GRANTS) and isinstance(digests, str):
            rows.update({f"grant {key.removeprefix(GRANTS)}@{digest}": "yes" for digest in digests.split()})
        elif key == CREDENTIALED and isinstance(digests, str):
            rows.update({f"credentialed {upstream}": "yes" for upstream in digests.split()})
        elif key == PINS and isinstance(digests, str) and (pins := render_pins(parse_pins(digests))):
            rows[ROW] = pins
    return rows


def _rows_of(descriptor: Any) -> dict[str, str]:
    try:
        digest = Digest.parse(descriptor["digest"])
        media_type = descriptor["mediaType"]
        annotations = descriptor.get("annotations") or {}
        if media_type not in MANIFEST_TYPES:
            return {}
        rows = {f"type {digest}": str(media_type)}
        if REF_NAME in annotations:
            gone = _time(annotations[GONE_SINCE]) if GONE_SINCE in annotations else None
            name = str(annotations[REF_NAME])
            name.encode()  # what cannot be written back is not taken
            record = TagRecord(digest, _time(annotations.get(VALIDATED_AT, 0)), gone)
            rows[f"tag {name}"] = render_tag_record(record)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RequestError):
        return {}
    return rows


def _time(text: Any) -> float:
    """Return a time (epoch seconds), very long ago for what is none; raises ValueError for what is no number."""
    at = float(text)
    return at if math.isfinite(at) else 0.0
