"""What files there are, how large, and how lately used: the order in which the cache forgets.

It lives in memory, begins as what the folder holds, and is written to the `index/` table in batches. While the folder
is being looked through it is not whole: it knows what was used meanwhile, and what it does not know may be there.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import suppress

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.interfaces.clock import Clock
from mirror.store.entries import TOTALS, IndexEntry, Totals, parse, render, used_later
from mirror.store.ordered import Ordered
from mirror.store.rows import Rows
from mirror.store.slices import in_slices
from mirror.store.stock import Stock
from mirror.store.threads import Threads
from mirror.store.wholeness import Wholeness

_SET_BACK_SECONDS = 60.0
# A clock that goes back by less does no harm.

_JUST_SECONDS = 1.0


class Index:
    """The committed files, with when they were used last."""

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._files = Ordered()
        self._changed: set[Digest] = set()
        self._news: set[Digest] = set()
        self._is_watching = False
        self._early: dict[Digest, float] = {}
        self._estimate = Totals()
        self._whole = Wholeness()
        self.uses = 0
        """How often a file was used or came; it tells whether any was since."""

    @property
    def size(self) -> int:
        """Bytes of all files together that are known."""
        return self._files.size

    @property
    def manifests(self) -> int:
        """How many of the files are manifests."""
        return len(self._files.manifests)

    @property
    def is_whole(self) -> bool:
        """Tell whether what is not known is not there."""
        return bool(self._whole)

    async def known(self, seconds: float | None = None) -> None:
        """Wait until all is known; raises StoreFailed if that takes longer."""
        if not self._whole:
            await self._whole.wait(seconds)

    def totals(self) -> Totals:
        """Return what there is; what the rows said when this began, until all is known."""
        return Totals(self.size, self.manifests, len(self._files.blobs)) if self.is_whole else self._estimate

    def at_most(self) -> int:
        """Return how many bytes there may be, as far as the rows told until all is known."""
        if self.is_whole:
            return self.size
        return self._estimate.size + self.size if self._estimate.size else sys.maxsize

    async def begin(self) -> None:
        """Know nothing yet: there may be any file, until `load` is done."""
        self._whole.begin()
        count, size, manifests = await self._rows.figures(TOTALS) or (0, 0, 0)
        self._estimate = Totals(size, manifests, count - manifests)

    async def load(
        self, files: Iterable[tuple[Digest, int, float]], manifests: Collection[str], threads: Threads
    ) -> None:
        """Learn of the `files` on disk, in slices; raises StoreFailed. What was done meanwhile is known better.

        `manifests` are the digests of those that have no row and are no other blobs. Rows without a file go.
        """
        stock = Stock(await self._rows.items(), manifests, self._clock())
        await in_slices(stock.take(files), threads)
        await in_slices(stock.arrange(), threads)
        self._take_over(stock)
        self._whole.end()
        self._news.clear()
        await self._rows.add(stock.new)
        await self._rows.write(stock.changed)

    def _take_over(self, stock: Stock) -> None:
        meanwhile = stock.absorb({digest: self.get(digest) for digest in self._news}, self._early)
        stock.files.latest = max(self._files.latest, stock.files.latest)
        self._files = stock.files
        self._early.clear()
        for digest, entry in meanwhile:
            self._put(digest, entry)

    def watch(self) -> None:
        """Begin to note what this process adds and removes: that counts more than what was looked up."""
        self._news.clear()
        self._is_watching = True

    async def rows(self) -> dict[str, str]:
        """Return the rows, in which all processes note what they used."""
        return await self._rows.items()

    def reconcile(self, found: Mapping[Digest, IndexEntry], rows: Mapping[str, str]) -> Generator[None]:
        """Take over what other processes did, from the files that were `found` since `watch` and from `rows`.

        A step for each file (see `in_turns`); what this process does in between counts more.
        """
        for digest in [*self._files.blobs, *self._files.manifests]:
            if digest not in found and digest not in self._news:
                self._files.drop(digest)
            yield
        newer: dict[Digest, IndexEntry] = {}
        latest = self._time() + _SET_BACK_SECONDS
        for digest, entry in found.items():
            known, noted = self.get(digest), parse(rows.get(str(digest), ""))
            if known is None and digest not in self._news:
                newer[digest] = noted or entry
            elif known is not None and noted is not None and known.used_at < noted.used_at <= latest:
                newer[digest] = IndexEntry(known.size, noted.used_at, known.is_manifest or noted.is_manifest)
            yield
        if newer:
            yield from self._merge(newer | used_later(newer.items(), latest))
        self._is_watching = False
        self._news.clear()

    def _merge(self, newer: Mapping[Digest, IndexEntry]) -> Generator[None]:
        for digest, entry in newer.items():
            known = self.get(digest)
            if digest not in self._news or (known is not None and known.used_at < entry.used_at):
                self._files.put(digest, entry)
            yield
        yield from self._files.mend(min(entry.used_at for entry in newer.values()), self._news)

    def add(self, digest: Digest, size: int, *, is_manifest: bool) -> None:
        """A file was committed."""
        self._put(digest, IndexEntry(size, self._time(), is_manifest))

    def touch(self, digest: Digest) -> None:
        """The file was used."""
        if entry := self.get(digest):
            self._put(digest, IndexEntry(entry.size, self._time(), entry.is_manifest))
        elif not self.is_whole:
            self._early[digest] = self._time()
            self.uses += 1

    def remove(self, digest: Digest) -> None:
        """The file is gone, or about to go."""
        if self._files.drop(digest) or self._is_watching or not self.is_whole:
            self._note(digest)

    def get(self, digest: Digest) -> IndexEntry | None:
        """Return the entry of a file."""
        # Not by a call more: each hit asks.
        return self._files.blobs.get(digest) or self._files.manifests.get(digest)

    async def find(self, digest: Digest) -> IndexEntry | None:
        """The same; as long as not all is known, look at its row, whether there is a file or not."""
        known = self.get(digest)
        if known is not None or self.is_whole or digest in self._news:
            return known
        with suppress(StoreFailed):
            known = parse(await self._rows.get(str(digest)) or "")
        return self.get(digest) or (None if digest in self._news else known)

    def first_to_go(self) -> Iterator[tuple[Digest, IndexEntry]]:
        """Return all entries, the one to evict first, first."""
        return self._files.items()

    def unused(self, seconds: float, absent: Callable[[float], float]) -> list[tuple[Digest, IndexEntry]]:
        """Return what has not been used for so long, the one to evict first, first.

        `absent` tells for how many seconds after a time nothing could be used, which do not count.
        """
        self._time()
        found: list[tuple[Digest, IndexEntry]] = []
        for entries in (self._files.blobs, self._files.manifests):
            # In the order of their use: behind the first that was used lately, all were.
            found += itertools.takewhile(
                lambda item: self.age(item[1]) - absent(item[1].used_at) >= seconds, entries.items()
            )
        return found

    def age(self, entry: IndexEntry) -> float:
        """Return for how many seconds the file has not been used; none if the clock was set back since."""
        return max(0.0, self._clock() - entry.used_at)

    def is_just_used(self, entry: IndexEntry) -> bool:
        """Tell whether the file was used within the last second: recency needs no finer grain."""
        return 0 <= self._clock() - entry.used_at < _JUST_SECONDS

    def _time(self) -> float:
        """Return the time, never earlier than the last one that was noted.

        Where the clock was set back, what was used later than now was used now, in its order. Else what nobody uses
        any more would stay ahead of what is used, until the clock is there again.
        """
        files, now = self._files, self._clock()
        if now < files.latest - _SET_BACK_SECONDS:
            files.latest = now
            for digest, entry in used_later(files.items(), now).items():
                files.family(entry)[digest] = entry
                self._changed.add(digest)
                files.latest = max(files.latest, entry.used_at)
        files.latest = max(files.latest, now)
        return files.latest

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._files.blobs or digest in self._files.manifests

    def __len__(self) -> int:
        return len(self._files)

    async def flush(self) -> None:
        """Write what changed since the last flush, in one transaction."""
        changed, self._changed = self._changed, set()
        await self._rows.write({str(digest): self._row(digest) for digest in changed})

    def _row(self, digest: Digest) -> str | None:
        entry = self.get(digest)
        return None if entry is None else render(entry)

    def _put(self, digest: Digest, entry: IndexEntry) -> None:
        self._files.put(digest, entry)
        self._note(digest)
        self.uses += 1

    def _note(self, digest: Digest) -> None:
        self._changed.add(digest)
        if self._is_watching or not self.is_whole:
            self._news.add(digest)
        self._early.pop(digest, None)
