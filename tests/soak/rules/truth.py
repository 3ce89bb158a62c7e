"""What the bytes of a digest are, and what one flipped bit makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from tests.soak.history import Chaos, History, Trouble

Content = Mapping[str, bytes]
"""The bytes behind every digest there is."""


class Truth:
    """Tells whether bytes can be those of a digest at some time."""

    def __init__(self, history: History, content: Content) -> None:
        self._content = content
        self._flips: dict[str, list[Chaos]] = {}
        for trouble in history.chaos:
            if trouble.what is Trouble.FLIP and trouble.digest is not None:
                self._flips.setdefault(trouble.digest, []).append(trouble)
        self._hashes: dict[tuple[str, int, int, int | None], str] = {}

    def knows(self, digest: str) -> bool:
        return digest in self._content

    def size(self, digest: str) -> int:
        return len(self._content[digest])

    def has(self, digest: str, start: int, length: int, sha256: str, by: float | None) -> bool:
        """Whether so many bytes from `start` on have this hash; with a bit flipped up to `by` (None: never)."""
        versions: Iterable[int | None] = [None, *(flip.bit for flip in self._flips_of(digest, by))]
        return any(self._hash(digest, start, length, bit) == sha256 for bit in versions)

    def _flips_of(self, digest: str, by: float | None) -> Iterable[Chaos]:
        return (flip for flip in self._flips.get(digest, ()) if by is not None and flip.t0 <= by)

    def _hash(self, digest: str, start: int, length: int, bit: int | None) -> str:
        """The hash of digest, start, length and flipped bit; most are asked for again and again."""
        piece = digest, start, length, bit
        if piece not in self._hashes:
            self._hashes[piece] = hashlib.sha256(self._bytes(*piece)).hexdigest()
        return self._hashes[piece]

    def _bytes(self, digest: str, start: int, length: int, bit: int | None) -> bytes:
        data = self._content[digest][start : start + length]
        if bit is None or not start <= bit // 8 < start + len(data):
            return data
        changed = bytearray(data)
        changed[bit // 8 - start] ^= 1 << bit % 8
        return bytes(changed)
