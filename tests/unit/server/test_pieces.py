from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mirror.server.pieces import Piece, length_of, split_end
from mirror.server.ranges import Span

BLOB = bytes(range(256))
spans = st.tuples(st.integers(0, 255), st.integers(0, 255)).map(lambda ends: Span(min(ends), max(ends)))
some_pieces = st.lists(spans | st.binary(max_size=20), max_size=10)


def sent(pieces: Sequence[Piece]) -> bytes:
    """What a client gets of these pieces."""
    return b"".join(BLOB[piece.start : piece.stop] if isinstance(piece, Span) else piece for piece in pieces)


@given(some_pieces)
def test_the_length_is_what_is_sent(pieces: list[Piece]) -> None:
    assert length_of(pieces) == len(sent(pieces))


@given(some_pieces, st.integers(0, 1000))
def test_the_halves_are_the_whole_and_the_second_is_as_long_as_asked(pieces: list[Piece], size: int) -> None:
    begin, end = split_end(pieces, size)
    assert sent(begin) + sent(end) == sent(pieces)
    assert length_of(end) == min(size, length_of(pieces))


def test_a_span_is_cut_where_it_has_to_be() -> None:
    assert split_end([b"ab", Span(10, 20), b"yz"], 5) == ([b"ab", Span(10, 17)], [Span(17, 20), b"yz"])
    assert split_end([b"abcd", Span(10, 12)], 4) == ([b"ab"], [b"cd", Span(10, 12)])
