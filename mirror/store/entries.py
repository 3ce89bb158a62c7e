"""What is known of a committed file, and the row that says so in the `index/` table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mirror.oci.digest import Digest

TOTALS = (
    "SELECT COUNT(*), TOTAL(json_extract(value, '$[0]')), TOTAL(json_type(value, '$[2]') = 'true') FROM Cache"
    " WHERE typeof(value) = 'text' AND json_valid(value) AND json_type(value, '$[0]') = 'integer'"
    " AND json_extract(value, '$[0]') BETWEEN 0 AND 1000000000000000000"
)
"""Asks the table how many files its rows know of, of how many bytes together, and how many of them are manifests.

A row with a size that no file has tells nothing, so that the sums stay numbers.
"""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A committed file: `size` in bytes, `used_at` in epoch seconds, and whether it is a manifest."""

    size: int
    used_at: float
    is_manifest: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """How many bytes there are, and in how many manifests and other blobs."""

    size: int = 0
    manifests: int = 0
    blobs: int = 0


def used_later(entries: Iterable[tuple[Digest, IndexEntry]], now: float) -> dict[Digest, IndexEntry]:
    """Return those of the entries that were used later than `now`, as used now, in the order of their use."""
    later = sorted((item for item in entries if item[1].used_at > now), key=lambda item: item[1].used_at)
    return {digest: replace(entry, used_at=now + 1e-6 * rank) for rank, (digest, entry) in enumerate(later)}


def render(entry: IndexEntry) -> str:
    """Return the row of an entry."""
    return json.dumps([entry.size, entry.used_at, entry.is_manifest])


def parse(row: str) -> IndexEntry | None:
    """Return the entry that a row says, None for a damaged one."""
    try:
        size, used_at, is_manifest = json.loads(row)
        if type(size) is int and size >= 0 and math.isfinite(used_at):
            return IndexEntry(size, float(used_at), bool(is_manifest))
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    return None
