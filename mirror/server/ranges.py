"""The Range header, for a blob of known length (RFC 9110, 14.2). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirror.errors import RangeNotSatisfiable

_SINGLE = re.compile(r"\s*bytes\s*=\s*(?:([0-9]{1,18})\s*-\s*([0-9]{1,18})?|-\s*([0-9]{1,18}))\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range header of this part of a blob of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str, size: int) -> Span | None:
    """Return the span that a Range header asks for, None where it is to be ignored.

    Ignored are headers that are malformed and those with several ranges, as the RFC allows. `bytes=N-` always
    reaches to the end: dockerd takes nothing less. Raises RangeNotSatisfiable for a span behind the end.
    """
    match = _SINGLE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, stop = max(0, size - int(suffix)), size
    else:
        start, stop = int(first), size if last is None else min(int(last) + 1, size)
        if last is not None and int(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable(size)
    return Span(start, stop)
