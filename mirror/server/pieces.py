"""What the body of an answer is made of: spans of a blob, and bytes of our own between them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mirror.server.ranges import Span

Piece = bytes | Span


def length_of(pieces: Sequence[Piece]) -> int:
    """Return how many bytes the pieces are together."""
    return sum(_size(piece) for piece in pieces)


def split_end(pieces: Sequence[Piece], size: int) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces in two halves, the second of `size` bytes, or of all there are."""
    begin, end = list(pieces), list[Piece]()
    while begin and size > 0:
        piece = begin.pop()
        kept = min(_size(piece), size)
        size -= kept
        first, last = _cut(piece, _size(piece) - kept)
        if _size(first):
            begin.append(first)
        end.insert(0, last)
    return begin, end


def _size(piece: Piece) -> int:
    return piece.size if isinstance(piece, Span) else len(piece)


def _cut(piece: Piece, at: int) -> tuple[Piece, Piece]:
    if isinstance(piece, Span):
        middle = piece.start + at
        return Span(piece.start, middle), Span(middle, piece.stop)
    return piece[:at], piece[at:]
