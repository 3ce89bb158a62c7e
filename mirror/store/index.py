"""What files there are, how large, and how lately used: the order in which the cache forgets.

It lives in memory, begins as what the folder holds, and is written to the `index/` table in batches.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mirror.oci.digest import Digest
from mirror.proxy.interfaces import Clock
from mirror.store.rows import Rows


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A committed file: `size` in bytes, `used_at` in epoch seconds, and whether it is a manifest."""

    size: int
    used_at: float
    is_manifest: bool


class Index:
    """The committed files, least recently used first."""

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._entries: OrderedDict[Digest, IndexEntry] = OrderedDict()
        self._changed: set[Digest] = set()
        self.size = 0
        """Bytes of all files together."""
        self.manifests = 0
        """How many of the files are manifests."""

    async def load(self, files: Iterable[tuple[Digest, IndexEntry]]) -> None:
        """Begin with `files` as found on disk; rows add what a file cannot tell, rows without a file go."""
        known = await self._rows.items()
        found = dict(files)
        for digest, entry in found.items():
            found[digest] = _remembered(known.get(str(digest)), entry)
        for digest, entry in sorted(found.items(), key=lambda item: item[1].used_at):
            self._put(digest, entry)
        self._changed.clear()
        right = {str(digest): _row(entry) for digest, entry in found.items()}
        await self._rows.write(dict.fromkeys(known.keys() - right.keys()))
        await self._rows.write({digest: row for digest, row in right.items() if known.get(digest) != row})

    def add(self, digest: Digest, size: int, *, is_manifest: bool) -> None:
        """A file was committed."""
        self._put(digest, IndexEntry(size, self._clock(), is_manifest))

    def touch(self, digest: Digest) -> None:
        """The file was used."""
        if entry := self._entries.get(digest):
            self._put(digest, IndexEntry(entry.size, self._clock(), entry.is_manifest))

    def remove(self, digest: Digest) -> None:
        """The file is gone, or about to go."""
        if entry := self._entries.pop(digest, None):
            self.size -= entry.size
            self.manifests -= entry.is_manifest
            self._changed.add(digest)

    def get(self, digest: Digest) -> IndexEntry | None:
        """Return the entry of a file."""
        return self._entries.get(digest)

    def oldest_first(self) -> Iterator[tuple[Digest, IndexEntry]]:
        """Yield all entries, least recently used first."""
        yield from self._entries.items()

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    async def flush(self) -> None:
        """Write what changed since the last flush, in one transaction."""
        changed, self._changed = self._changed, set()
        await self._rows.write({str(digest): _row(self._entries.get(digest)) for digest in changed})

    def _put(self, digest: Digest, entry: IndexEntry) -> None:
        self.remove(digest)
        self._entries[digest] = entry
        self.size += entry.size
        self.manifests += entry.is_manifest
        self._changed.add(digest)


def _row(entry: IndexEntry | None) -> str | None:
    return None if entry is None else json.dumps([entry.size, entry.used_at, entry.is_manifest])


def _remembered(row: str | None, entry: IndexEntry) -> IndexEntry:
    try:
        size, used_at, is_manifest = json.loads(row or "")
        if size == entry.size and math.isfinite(used_at):
            return IndexEntry(size, float(used_at), bool(is_manifest))
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    return entry
