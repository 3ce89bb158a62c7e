"""Reading `multipart/byteranges` as strictly as any client does, and expecting it whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CONTENT_TYPE = re.compile(r"multipart/byteranges; boundary=([0-9a-f]{32})")
_HEAD = re.compile(
    rb"Content-Type: application/octet-stream\r\nContent-Range: bytes (?P<first>\d+)-(?P<last>\d+)/(?P<size>\d+)"
)


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from `start` on of a blob of `size` bytes, as a part of an answer gave them."""

    start: int
    data: bytes
    size: int


def parts_of(headers: Mapping[str, str], body: bytes) -> list[Part]:
    """The parts of a whole answer; its headers' names in lower case."""
    boundary = boundary_of(headers)
    assert headers["content-length"] == str(len(body))
    assert "content-range" not in headers, "it would be of the first part, or of none"
    opening, closing = b"--" + boundary + b"\r\n", b"\r\n--" + boundary + b"--\r\n"
    assert body.startswith(opening)
    assert body.endswith(closing)
    inner = body.removeprefix(opening).removesuffix(closing)
    return [_part(text) for text in inner.split(b"\r\n" + opening)]


def boundary_of(headers: Mapping[str, str]) -> bytes:
    """What stands between the parts of an answer with these headers."""
    match = _CONTENT_TYPE.fullmatch(headers["content-type"])
    assert match is not None, headers["content-type"]
    return match[1].encode()


def _part(text: bytes) -> Part:
    head, _, data = text.partition(b"\r\n\r\n")
    match = _HEAD.fullmatch(head)
    assert match is not None, head
    first, last, size = (int(match[name]) for name in ("first", "last", "size"))
    assert len(data) == last + 1 - first
    return Part(first, data, size)
