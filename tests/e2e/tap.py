"""Notes which parts of blobs a client asks for, and in what form it gets them."""

import re
from typing import NamedTuple

from .relay import Relay

FIELD = re.compile(r"\r\n(range|content-type): *([^\r]*)", re.IGNORECASE)


class Asked(NamedTuple):
    """A blob that a client asked for, the ranges of it that it wanted, and status and type of the answer."""

    digest: str
    ranges: tuple[range, ...]
    status: int
    content_type: str


class Tap(Relay):
    """Stands before a mirror and listens; only closed ranges are understood."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.asked: list[Asked] = []

    def note(self, request: bytes, answer: bytes) -> None:
        """Notes requests for blobs."""
        path, head = request.decode().split()[1], answer.decode()
        if "/blobs/" in path:
            wanted, got = _fields(request.decode()), _fields(head)
            ranges = _ranges(wanted.get("range", ""))
            asked = Asked(path.rpartition("/")[2], ranges, int(head.split()[1]), got.get("content-type", ""))
            self.asked.append(asked)


def _fields(head: str) -> dict[str, str]:
    return {name.lower(): value for name, value in FIELD.findall(head)}


def _ranges(header: str) -> tuple[range, ...]:
    ends = re.findall(r"(\d+)-(\d+)", header)
    return tuple(range(int(first), int(last) + 1) for first, last in ends)
