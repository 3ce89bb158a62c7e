"""What the bytes of a digest are, and what one flipped bit makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from tests.soak.history import Chaos, History, Trouble

Content = Mapping[str, bytes]
"""The bytes behind every digest there is."""

Spans = tuple[tuple[int, int], ...]
"""Pieces of content, each as its start and its length."""


class Truth:
    """Tells whether bytes can be those of a digest at some time."""

    def __init__(self, history: History, content: Content) -> None:
        self._content = content
        self._flips: dict[str, list[Chaos]] = {}
        for trouble in history.chaos:
            if trouble.what is Trouble.FLIP and trouble.digest is not None:
                self._flips.setdefault(trouble.digest, []).append(trouble)
        self._hashes: dict[tuple[str, Spans, int | None], str] = {}

    def knows(self, digest: str) -> bool:
        return digest in self._content

    def size(self, digest: str) -> int:
        return len(self._content[digest])

    def has(self, digest: str, spans: Spans, sha256: str, by: float | None) -> bool:
        """Whether these pieces together have this hash; with a bit flipped up to `by` (None: never)."""
        versions: Iterable[int | None] = [None, *(flip.bit for flip in self._flips_of(digest, by))]
        return any(self._hash(digest, spans, bit) == sha256 for bit in versions)

    def _flips_of(self, digest: str, by: float | None) -> Iterable[Chaos]:
        return (flip for flip in self._flips.get(digest, ()) if by is not None and flip.t0 <= by)

    def _hash(self, digest: str, spans: Spans, bit: int | None) -> str:
        """The hash of digest, pieces and flipped bit; most are asked for again and again."""
        asked = digest, spans, bit
        if asked not in self._hashes:
            data = b"".join(self._bytes(digest, start, length, bit) for start, length in spans)
            self._hashes[asked] = hashlib.sha256(data).hexdigest()
        return self._hashes[asked]

    def _bytes(self, digest: str, start: int, length: int, bit: int | None) -> bytes:
        data = self._content[digest][start : start + length]
        if bit is None or not start <= bit // 8 < start + len(data):
            return data
        changed = bytearray(data)
        changed[bit // 8 - start] ^= 1 << bit % 8
        return bytes(changed)
