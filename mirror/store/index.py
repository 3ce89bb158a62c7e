"""What files there are, how large, and how lately used: the order in which the cache forgets.

It lives in memory, begins as what the folder holds, and is written to the `index/` table in batches.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from mirror.oci.digest import Digest
from mirror.proxy.interfaces.clock import Clock
from mirror.store.rows import Rows

_SET_BACK_SECONDS = 60.0
# A clock that goes back by less does no harm.

_JUST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A committed file: `size` in bytes, `used_at` in epoch seconds, and whether it is a manifest."""

    size: int
    used_at: float
    is_manifest: bool


class Index:
    """The committed files, least recently used first, blobs before manifests.

    A manifest is small and costs a pull to fetch again, a blob is neither: blobs go first.
    """

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._latest = -math.inf
        self._blobs: OrderedDict[Digest, IndexEntry] = OrderedDict()
        self._manifests: OrderedDict[Digest, IndexEntry] = OrderedDict()
        self._changed: set[Digest] = set()
        self._news: set[Digest] = set()
        self.size = 0
        """Bytes of all files together."""
        self.uses = 0
        """How often a file was used or came; it tells whether any was since."""

    @property
    def manifests(self) -> int:
        """How many of the files are manifests."""
        return len(self._manifests)

    async def load(self, files: Iterable[tuple[Digest, IndexEntry]]) -> None:
        """Begin with `files` as found on disk; rows add what a file cannot tell, rows without a file go.

        A file that is not as long as its row says keeps the row's size: whoever opens it sees that it is damaged.
        """
        known = {digest: _parse(row) for digest, row in (await self._rows.items()).items()}
        found = {digest: known.get(str(digest)) or entry for digest, entry in files}
        found |= _used_later(found.items(), self._clock())
        for digest, entry in sorted(found.items(), key=lambda item: item[1].used_at):
            self._put(digest, entry)
        self._changed.clear()
        right = {str(digest): entry for digest, entry in found.items()}
        await self._rows.write(dict.fromkeys(known.keys() - right.keys()))
        await self._rows.write({digest: _row(entry) for digest, entry in right.items() if known.get(digest) != entry})

    def watch(self) -> None:
        """Begin to note what this process adds and removes: `reconcile` knows it better than what was looked up."""
        self._news.clear()

    async def rows(self) -> dict[str, str]:
        """Return the rows, in which all processes note what they used."""
        return await self._rows.items()

    def reconcile(self, found: Mapping[Digest, IndexEntry], rows: Mapping[str, str]) -> None:
        """Take over what other processes did, from the files that were `found` since `watch` and from `rows`."""
        for digest in [digest for digest in self._all() if digest not in found and digest not in self._news]:
            self._drop(digest)
        newer: dict[Digest, IndexEntry] = {}
        latest = self._time() + _SET_BACK_SECONDS
        for digest, entry in found.items():
            known, noted = self.get(digest), _parse(rows.get(str(digest), ""))
            if known is None and digest not in self._news:
                newer[digest] = noted or entry
            elif known is not None and noted is not None and known.used_at < noted.used_at <= latest:
                newer[digest] = IndexEntry(known.size, noted.used_at, known.is_manifest or noted.is_manifest)
        if newer:
            self._merge(newer | _used_later(newer.items(), latest))

    def _merge(self, newer: Mapping[Digest, IndexEntry]) -> None:
        for digest, entry in newer.items():
            self._drop(digest)
            self._insert(digest, entry)
        for entries in (self._blobs, self._manifests):
            for digest, _ in sorted(entries.items(), key=lambda item: item[1].used_at):
                entries.move_to_end(digest)

    def add(self, digest: Digest, size: int, *, is_manifest: bool) -> None:
        """A file was committed."""
        self._put(digest, IndexEntry(size, self._time(), is_manifest))

    def touch(self, digest: Digest) -> None:
        """The file was used."""
        if entry := self.get(digest):
            self._put(digest, IndexEntry(entry.size, self._time(), entry.is_manifest))

    def remove(self, digest: Digest) -> None:
        """The file is gone, or about to go."""
        if self._drop(digest):
            self._changed.add(digest)
            self._news.add(digest)

    def get(self, digest: Digest) -> IndexEntry | None:
        """Return the entry of a file."""
        return self._blobs.get(digest) or self._manifests.get(digest)

    def first_to_go(self) -> Iterator[tuple[Digest, IndexEntry]]:
        """Yield all entries, the one to evict first, first."""
        yield from self._blobs.items()
        yield from self._manifests.items()

    def unused(self, seconds: float, absent: Callable[[float], float]) -> list[tuple[Digest, IndexEntry]]:
        """Return what has not been used for so long, the one to evict first, first.

        `absent` tells for how many seconds after a time nothing could be used, which do not count.
        """
        self._time()
        found: list[tuple[Digest, IndexEntry]] = []
        for entries in (self._blobs, self._manifests):
            # In the order of their use: behind the first that was used lately, all were.
            found += itertools.takewhile(
                lambda item: self.age(item[1]) - absent(item[1].used_at) >= seconds, entries.items()
            )
        return found

    def age(self, entry: IndexEntry) -> float:
        """Return for how many seconds the file has not been used; none if the clock was set back since."""
        return max(0.0, self._clock() - entry.used_at)

    def was_just_used(self, digest: Digest) -> bool:
        """Tell whether the file was used within the last second: recency needs no finer grain."""
        entry = self.get(digest)
        return entry is not None and 0 <= self._clock() - entry.used_at < _JUST_SECONDS

    def _time(self) -> float:
        """Return the time, never earlier than the last one that was noted.

        Where the clock was set back, what was used later than now was used now, in its order. Else what nobody uses
        any more would stay ahead of what is used, until the clock is there again.
        """
        now = self._clock()
        if now < self._latest - _SET_BACK_SECONDS:
            self._latest = now
            for digest, entry in _used_later(self.first_to_go(), now).items():
                self._family(entry)[digest] = entry
                self._changed.add(digest)
                self._latest = max(self._latest, entry.used_at)
        self._latest = max(self._latest, now)
        return self._latest

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._blobs or digest in self._manifests

    def __len__(self) -> int:
        return len(self._blobs) + len(self._manifests)

    async def flush(self) -> None:
        """Write what changed since the last flush, in one transaction."""
        changed, self._changed = self._changed, set()
        await self._rows.write({str(digest): _row(self.get(digest)) for digest in changed})

    def _put(self, digest: Digest, entry: IndexEntry) -> None:
        self._drop(digest)
        self._insert(digest, entry)
        self._changed.add(digest)
        self._news.add(digest)
        self.uses += 1

    def _insert(self, digest: Digest, entry: IndexEntry) -> None:
        self._family(entry)[digest] = entry
        self.size += entry.size
        self._latest = max(self._latest, entry.used_at)

    def _family(self, entry: IndexEntry) -> OrderedDict[Digest, IndexEntry]:
        return self._manifests if entry.is_manifest else self._blobs

    def _drop(self, digest: Digest) -> bool:
        entry = self._blobs.pop(digest, None) or self._manifests.pop(digest, None)
        self.size -= entry.size if entry is not None else 0
        return entry is not None

    def _all(self) -> Iterator[Digest]:
        yield from self._blobs
        yield from self._manifests


def _used_later(entries: Iterable[tuple[Digest, IndexEntry]], now: float) -> dict[Digest, IndexEntry]:
    """Return those of the entries that were used later than `now`, as used now, in the order of their use."""
    later = sorted((item for item in entries if item[1].used_at > now), key=lambda item: item[1].used_at)
    return {digest: replace(entry, used_at=now + 1e-6 * rank) for rank, (digest, entry) in enumerate(later)}


def _row(entry: IndexEntry | None) -> str | None:
    return None if entry is None else json.dumps([entry.size, entry.used_at, entry.is_manifest])


def _parse(row: str) -> IndexEntry | None:
    try:
        size, used_at, is_manifest = json.loads(row)
        if type(size) is int and size >= 0 and math.isfinite(used_at):
            return IndexEntry(size, float(used_at), bool(is_manifest))
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    return None
