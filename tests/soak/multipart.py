"""The parts of a `multipart/byteranges` body, whole or cut."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(r"multipart/byteranges; boundary=(\S+)")
_HEAD = re.compile(rb"Content-Type: [^\r]+\r\nContent-Range: bytes (\d+)-(\d+)/\d+\r\n\r\n")


def boundary_of(content_type: str) -> bytes | None:
    """Return what is between the parts, None for a body of one piece."""
    match = _BOUNDARY.fullmatch(content_type)
    return match[1].encode() if match else None


def parts_of(boundary: bytes, body: bytes) -> list[tuple[int, bytes]]:
    """Return where each part begins and what came of it; one that is not followed as it should be is left out."""
    parts: list[tuple[int, bytes]] = []
    opening, position = b"--" + boundary + b"\r\n", 0
    while body.startswith(opening, position):
        head = _HEAD.match(body, position + len(opening))
        if head is None:
            break
        position = head.end() + int(head[2]) + 1 - int(head[1])
        behind = body[position : position + len(boundary) + 8]
        closing = b"\r\n--" + boundary + b"--\r\n"
        opening = b"\r\n--" + boundary + b"\r\n"
        if closing.startswith(behind) or behind.startswith(opening) or opening.startswith(behind):
            parts.append((int(head[1]), body[head.end() : position]))
    return parts
