"""The Content-Range header of a 206 (RFC 9110, 14.4). Pure; no input does worse than be unreadable."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Eighteen digits are below 2**63 and more than any blob has bytes.
_SATISFIED = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes from `first` to `last`, both included, of `total`; None where that is not said."""

    first: int
    last: int
    total: int | None


def parse_content_range(header: str) -> ContentRange | None:
    """Return the part that a Content-Range header declares, None where it is malformed or cannot be."""
    match = _SATISFIED.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)
