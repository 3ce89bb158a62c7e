"""Several spans of a blob in one body: `multipart/byteranges` (RFC 9110, 14.6), laid out before its first byte. Pure.

Readers look for the boundary, not at lengths. It is drawn anew for every answer: whoever made a blob cannot have put it
there, and 128 bits are not met by chance.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

from mirror.server.pieces import Piece
from mirror.server.ranges import Span


class Multipart:
    """The parts of a blob of `size` bytes and of this media type, one a span and in the order of `spans`."""

    def __init__(self, spans: Sequence[Span], size: int, media_type: str) -> None:
        self._spans = spans
        self._size = size
        self._media_type = media_type
        self._boundary = secrets.token_hex(16)

    @property
    def content_type(self) -> str:
        """The Content-Type header of the whole."""
        return f"multipart/byteranges; boundary={self._boundary}"

    def pieces(self) -> Iterator[Piece]:
        """Yield the body: what comes before each span, the span, and the end."""
        before = ""
        for span in self._spans:
            yield (
                f"{before}--{self._boundary}\r\n"
                f"Content-Type: {self._media_type}\r\n"
                f"Content-Range: {span.content_range(self._size)}\r\n\r\n"
            ).encode()
            yield span
            before = "\r\n"
        yield f"\r\n--{self._boundary}--\r\n".encode()
