"""The rows of the records: what they are called, and what they say. Pure."""

from __future__ import annotations

import functools
import json
import math

from mirror.errors import RequestError
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository, Tag, Variant
from mirror.proxy.cache_status import Kind
from mirror.proxy.freshness import TagRecord
from mirror.proxy.interfaces.views import Sighting
from mirror.proxy.operations.naming import FullName
from mirror.proxy.routing import Route

_MOST_PARSED = 4096
# Rows that are read on every request for their tags.


def tag_row(route: Route, tag: Tag | Variant) -> str:
    """Return what the row of a tag is called."""
    return f"{'variant' if isinstance(tag, Variant) else 'tag'} {route}:{tag}"


def variants_of(tag: FullName) -> str:
    """Return what the keys of a tag's variants begin with."""
    return f"variant {tag} as "


def digest_of(key: str, value: str) -> Digest | None:
    """Return what a row is about, None for one that is damaged."""
    kind, _, rest = key.partition(" ")
    if kind in ("tag", "variant"):
        record = parse_tag_record(value)
        return None if record is None else record.digest
    try:
        return Digest.parse(rest.rpartition("@")[2])
    except RequestError:
        return None


def repository_of(key: str) -> str:
    """Return the repository that a row is about, with its upstream; something else for a media type."""
    kind, _, rest = key.partition(" ")
    match kind:
        case "grant":
            return rest.rpartition("@")[0]
        case "tag" | "variant":
            return rest.rpartition(":")[0]
    return rest


def route_of(text: str) -> Route | None:
    """Return the repository that is called so, with its upstream; None for what is none."""
    upstream, _, repository = text.partition("/")
    try:
        return Route(upstream, Repository(repository))
    except RequestError:
        return None


def render_tag_record(record: TagRecord) -> str:
    """Return the row of a tag record."""
    gone = [] if record.gone_since is None else [record.gone_since]
    return json.dumps([str(record.digest), record.validated_at, *gone])


@functools.lru_cache(_MOST_PARSED)
def parse_tag_record(value: str) -> TagRecord | None:
    """Return the tag record that a row holds, None for one that is absent or damaged."""
    try:
        # Caches of before know of no deletions.
        digest, validated_at, *gone = json.loads(value or "null")
        record = TagRecord(Digest.parse(digest), float(validated_at), *map(float, gone))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, RequestError):
        return None
    return record if math.isfinite(record.validated_at) and math.isfinite(record.gone_since or 0) else None


def parse_sighting(value: str) -> Sighting | None:
    """Return the sighting that a row holds, None for one that is absent or damaged."""
    try:
        at, kind, name = json.loads(value or "null")
        reference = None if name is None else Digest.parse(name) if ":" in name else Tag(name)
        sighting = Sighting(float(at), Kind(kind), reference)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, RequestError):
        return None
    return sighting if math.isfinite(sighting.at) else None
