"""All committed files in the order of their use, put together from what the folder and the table say.

Each method is a generator that takes a step for each file: there may be very many of them (see `in_slices`).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import replace
from operator import itemgetter

from mirror.oci.digest import Digest
from mirror.store.entries import IndexEntry, parse, render, used_later
from mirror.store.ordered import Ordered

_RUN = 200

_Use = tuple[float, Digest, IndexEntry]


class Stock:
    """What there is: first `take` what was found, then `arrange` it."""

    def __init__(self, rows: Mapping[str, str], manifests: Collection[str], now: float) -> None:
        self.files = Ordered()
        self.new: dict[str, str] = {}
        """The rows of files that had none."""
        self.changed: dict[str, str | None] = {}
        """The rows that were wrong, None for those without a file; only once everything is arranged."""
        self._rows = rows
        self._known_manifests = manifests
        self._now = now
        self._runs: list[list[_Use]] = [[]]
        self._later: list[tuple[Digest, IndexEntry]] = []
        self._found: set[str] = set()

    def take(self, files: Iterable[tuple[Digest, int, float]]) -> Generator[None]:
        """Take the files that were found, with size and time of writing; rows add what a file cannot tell.

        A file that is not as long as its row says keeps the row's size: whoever opens it sees that it is damaged.
        """
        for digest, size, modified in files:
            name = str(digest)
            self._found.add(name)
            entry = parse(self._rows.get(name, ""))
            if entry is None:
                entry = IndexEntry(size, modified, name in self._known_manifests)
                self._note(name, entry)
            if entry.used_at > self._now:
                self._later.append((digest, entry))
            else:
                self._add(entry.used_at, digest, entry)
            yield

    def _note(self, name: str, entry: IndexEntry) -> None:
        if name in self._rows:
            self.changed[name] = render(entry)
        else:
            self.new[name] = render(entry)

    def _add(self, used_at: float, digest: Digest, entry: IndexEntry) -> None:
        if len(self._runs[-1]) == _RUN:
            self._runs[-1].sort(key=itemgetter(0))
            self._runs.append([])
        self._runs[-1].append((used_at, digest, entry))

    def arrange(self) -> Generator[None]:
        """Put them in order; what was used later than now was used now."""
        for digest, entry in used_later(self._later, self._now).items():
            self._add(entry.used_at, digest, entry)
            self._note(str(digest), entry)
        self._runs[-1].sort(key=itemgetter(0))
        for _, digest, entry in heapq.merge(*self._runs, key=itemgetter(0)):
            self.files.put(digest, entry)
            yield
        for name in self._rows:
            if name not in self._found:
                self.changed[name] = None
            yield

    def absorb(
        self, news: Mapping[Digest, IndexEntry | None], used: Mapping[Digest, float]
    ) -> list[tuple[Digest, IndexEntry]]:
        """Leave out what was put, removed or used meanwhile; return those that are there, in the order of their use."""
        meanwhile: dict[Digest, IndexEntry] = {}
        for digest, entry in news.items():
            was = self._drop(digest)
            self.changed.pop(str(digest), None)
            if entry is not None:
                meanwhile[digest] = replace(entry, is_manifest=True) if was is not None and was.is_manifest else entry
        for digest, used_at in used.items():
            if (was := self._drop(digest)) is not None:
                meanwhile[digest] = replace(was, used_at=used_at)
        return sorted(meanwhile.items(), key=lambda item: item[1].used_at)

    def _drop(self, digest: Digest) -> IndexEntry | None:
        entry = self.files.get(digest)
        if entry is not None:
            self.files.drop(digest)
            self.new.pop(str(digest), None)
            self.changed.pop(str(digest), None)
        return entry
