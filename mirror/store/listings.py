"""Lists of tags and referrers at rest: a file each in `listings/`, those used lately in memory as well.

A file is replaced as a whole and begins with the digest of the rest: what is damaged is as good as absent. All of
them together are bounded; the one that was written first makes room.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable

from cachetools import LRUCache

from mirror.errors import RequestError, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.listing import Listed, Listing
from mirror.proxy.routing import Route
from mirror.store import drafts
from mirror.store.folders import Folders
from mirror.store.purges import Purges
from mirror.store.threads import FileThreads

MOST_BYTES = 64 * 1024 * 1024
"""What lists may take of the disk, beside `cache.max_size`."""

OURS = re.compile(r"[0-9a-f]{64}")
"""What the files are called: the SHA-256 of what they list."""

_SLACK = MOST_BYTES // 16
# So much is written before the files are counted again.
_CLOCKS_DIFFER = 60.0
_BLOCK = 4096
# What a small file takes: it bounds their number too.
_HOT_BYTES = 16 * 1024 * 1024
_OVERHEAD = 512
_ENTRY = 64
# What a list and each of its entries cost in memory beside the text, generously.
_MOST_UNWRITTEN = 10_000


def _weight(listing: Listing) -> int:
    return _OVERHEAD + sum(_ENTRY + len(entry) for entry in listing.entries)


class StoredListings:
    """Lists by what they are of (see listing.ListingStore)."""

    def __init__(self, folders: Folders, threads: FileThreads, purges: Purges | None = None) -> None:
        self._folders = folders
        self._threads = threads
        self._hot: LRUCache[Listed, Listing] = LRUCache(_HOT_BYTES, _weight)
        self._unwritten: LRUCache[Listed, bool] = LRUCache(_MOST_UNWRITTEN)
        self._uncounted = _SLACK
        self._purges = purges or Purges()
        self._purges.on_news(self._hot.clear)

    async def get(self, listed: Listed) -> Listing | None:
        """Return the list from memory, else from disk."""
        self._purges.heed()
        return self._hot.get(listed) or await self.latest(listed)

    async def latest(self, listed: Listed) -> Listing | None:
        """Return the list from disk; from memory only where the disk did not take it, or cannot be read."""
        if listed in self._unwritten:
            return self._hot.get(listed)
        try:
            listing = await self._threads.reading.run(self._read, listed)
        except StoreFailed:
            return self._hot.get(listed)
        if listing is not None:
            self._remember(listed, listing)
        return listing

    async def put(self, listed: Listed, listing: Listing) -> None:
        """Keep the list, in memory even if the disk does not take it."""
        self._remember(listed, listing)
        self._unwritten[listed] = True
        await self._threads.writing.run(self._write, listed, listing)
        self._unwritten.pop(listed, None)

    async def forget(self, listed: Listed) -> None:
        """Forget the list."""
        self._hot.pop(listed, None)
        self._unwritten[listed] = True
        await self._threads.writing.run(lambda: self._folders.listings.remove(_name(listed)))
        self._unwritten.pop(listed, None)

    async def forget_referrers(self, route: Route, digests: Iterable[Digest]) -> None:
        """Forget who refers to these digests in a repository, in memory once a purge is told; raises StoreFailed."""
        listed = [_name(Listed(Kind.REFERRERS, route, digest)) for digest in digests]
        await self._threads.writing.run(self._remove, listed)

    async def forget_repository(self, route: Route) -> None:
        """Forget all lists of a repository, in memory once a purge is told; raises StoreFailed."""
        await self._threads.writing.run(lambda: self._remove(self._of(route)))

    def _of(self, route: Route) -> list[str]:
        """Return what the files with lists of a repository are called."""
        wanted = {f"{kind} {route}".encode() for kind in (Kind.TAGS, Kind.REFERRERS)}
        names = [entry.name for entry in self._folders.listings.entries() if OURS.fullmatch(entry.name)]
        return [name for name in names if _subject(self._folders.listings.read(name) or b"") in wanted]

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._folders.listings.remove(name)

    def _remember(self, listed: Listed, listing: Listing) -> None:
        self._hot.pop(listed, None)
        if _weight(listing) <= _HOT_BYTES:
            self._hot[listed] = listing

    def _read(self, listed: Listed) -> Listing | None:
        data = self._folders.listings.read(_name(listed))
        return None if data is None else _parse(listed, data)

    def _write(self, listed: Listed, listing: Listing) -> None:
        data = _render(listed, listing)
        drafts.replace(self._folders.listings, _name(listed), data)
        self._uncounted += max(len(data), _BLOCK)
        if self._uncounted > _SLACK:
            self._uncounted = 0
            self._tidy()

    def _tidy(self) -> None:
        """Remove what is too much, oldest first, and what writers that died have left.

        What was written later than now, before the clock was set back, is as good as the oldest.
        """
        latest = time.time() + _CLOCKS_DIFFER
        drafts.sweep(self._folders.listings)
        entries = [entry for entry in self._folders.listings.entries() if OURS.fullmatch(entry.name)]
        taken = 0
        for entry in sorted(entries, key=lambda entry: entry.modified if entry.modified <= latest else 0, reverse=True):
            taken += max(entry.size, _BLOCK)
            if taken > MOST_BYTES:
                self._folders.listings.remove(entry.name)


def _name(listed: Listed) -> str:
    return Digest.of(str(listed).encode()).encoded


def _render(listed: Listed, listing: Listing) -> bytes:
    document = {"of": str(listed), "validated_at": listing.validated_at, "entries": listing.entries}
    data = json.dumps(document).encode()
    return f"{Digest.of(data)}\n".encode() + data


def _subject(data: bytes) -> bytes:
    """Return of what a file holds a list, without the digest that it refers to."""
    return data.partition(b'{"of": "')[2].partition(b'"')[0].partition(b"@")[0]


def _parse(listed: Listed, data: bytes) -> Listing | None:
    """Return the list that a file holds, None if it is damaged or of something else."""
    digest, _, rest = data.partition(b"\n")
    try:
        if not Digest.parse(digest.decode()).verifies(rest):
            return None
        document = json.loads(rest)
        listing = Listing(tuple(map(str, document["entries"])), float(document["validated_at"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, RequestError):
        return None
    return listing if document["of"] == str(listed) and math.isfinite(listing.validated_at) else None
