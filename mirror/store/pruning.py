"""Which rows of the records are about content that is not kept any more. There may be very many (see `in_turns`)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

from mirror.oci.digest import Digest
from mirror.store import pins
from mirror.store.record_rows import digest_of, parse_sighting, repository_of

OF_NO_CONTENT = ("public ", "credentialed ", pins.ROW)
"""What the keys of the others begin with."""

_ON_ITS_WAY = 3600.0
# Seconds within which what was seen to be public may be so of content that is not granted or stored yet.

_BATCH = 200
# Rows that are forgotten in one transaction, and looked at in one turn of the loop.


class Pruning:
    """Of the `rows` there were; `known` is what is in memory of a row, which was written later.

    First `look`, then find out which of the `doubtful` digests are `lost`, then `judge`; both take a step for each row.
    """

    def __init__(
        self,
        rows: Mapping[str, str],
        known: Callable[[str], str | None],
        is_kept: Callable[[Digest], bool],
        now: float,
    ) -> None:
        self._rows = rows
        self._known = known
        self._is_kept = is_kept
        self._now = now
        self.doubtful: set[Digest] = set()
        self.lost: set[Digest] = set()
        self._outdated: list[str] = []

    def look(self) -> Generator[None]:
        """Find what this process does not know to be kept."""
        for key in self._rows:
            digest = None if key.startswith(OF_NO_CONTENT) else self._digest(key)
            if digest is not None and not self._is_kept(digest):
                self.doubtful.add(digest)
            yield

    def judge(self) -> Generator[None]:
        """Find what is gone: content that is lost, and what was seen of repositories that have none."""
        holding = set()
        for key in self._rows:
            if not key.startswith(OF_NO_CONTENT):
                if self._is_outdated(key):
                    self._outdated.append(key)
                else:
                    holding.add(repository_of(key))
            yield
        for key in self._rows:
            if key.startswith("public ") and self._is_outdated(key) and repository_of(key) not in holding:
                self._outdated.append(key)
            yield

    def outdated(self) -> Iterator[list[str]]:
        """Yield the keys of what was found to be gone, some at a time."""
        for start in range(0, len(self._outdated), _BATCH):
            yield self._outdated[start : start + _BATCH]

    def gone(self, keys: Iterable[str]) -> list[str]:
        """Return those of these keys that are gone at this moment."""
        return [key for key in keys if self._is_outdated(key)]

    def _is_outdated(self, key: str) -> bool:
        if key.startswith("public "):
            seen = parse_sighting(self._value(key))
            return seen is None or abs(self._now - seen.at) >= _ON_ITS_WAY
        digest = self._digest(key)
        return digest is None or (digest in self.lost and not self._is_kept(digest))

    def _digest(self, key: str) -> Digest | None:
        return digest_of(key, self._value(key))

    def _value(self, key: str) -> str:
        return self._known(key) or self._rows[key]
