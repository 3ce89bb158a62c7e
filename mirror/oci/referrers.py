"""Referrers: what points to a manifest, such as its signatures (distribution-spec, "Listing Referrers").

A referrer is kept as the JSON text of its descriptor, with everything that upstream says of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qs

from mirror.errors import UpstreamInvalid
from mirror.oci.digest import Digest
from mirror.oci.documents import parse_list, parse_object
from mirror.oci.media_types import OCI_INDEX, manifest_type
from mirror.oci.reference import Tag

_WHAT = "a list of referrers"


def referrers_tag(digest: Digest) -> Tag:
    """Return the tag that lists the referrers where a registry has no API for them ("Referrers Tag Schema")."""
    return Tag(f"{digest.algorithm:.32}-{digest.encoded:.64}")


def parse_referrers(content_type: str, data: bytes) -> list[str]:
    """Return the referrers in an image index; raises UpstreamInvalid for anything that is not one."""
    if manifest_type(content_type, data) != OCI_INDEX:
        raise UpstreamInvalid(f"upstream sent {_WHAT} that is not an image index")
    document = parse_object(data, _WHAT)
    if document.get("schemaVersion") != 2:  # the only one there is
        raise UpstreamInvalid(f"upstream sent {_WHAT} of an unknown version")
    return [_text(entry) for entry in parse_list(document, "manifests", _WHAT)]


def _text(entry: Any) -> str:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("mediaType", "digest")):
        raise UpstreamInvalid(f"upstream sent {_WHAT} with something else in it")
    try:
        return json.dumps(entry, allow_nan=False)
    except (ValueError, RecursionError):
        raise UpstreamInvalid(f"upstream sent {_WHAT} that is not JSON") from None


def types_asked(query: str) -> frozenset[str]:
    """Return the artifact types that a query filters by, none if it does not."""
    # A plus that nobody encoded arrives as a space, which no media type has.
    return frozenset(value.replace(" ", "+") for value in parse_qs(query).get("artifactType", []))


def of_types(referrers: Iterable[str], artifact_types: Collection[str]) -> list[str]:
    """Return the referrers that are of one of these artifact types."""
    return [referrer for referrer in referrers if json.loads(referrer).get("artifactType") in artifact_types]


def render(referrers: Iterable[str]) -> bytes:
    """Return the image index of these referrers."""
    return f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{",".join(referrers)}]}}'.encode()
