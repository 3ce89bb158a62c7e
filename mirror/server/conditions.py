"""Conditional requests: does the client hold what it would be sent, or want only something else (RFC 9110, 13)? Pure.

Content has no date here, so that `If-Modified-Since` and `If-Unmodified-Since` mean nothing, as the RFC has it.
"""

from __future__ import annotations

import re
from enum import Enum

from multidict import CIMultiDictProxy

from mirror.oci.digest import Digest

# A tag without its quotes is none, but some clients send digests so.
_TAG = re.compile(
    r'[ \t,]*+(?P<weak>W/)?+(?:"(?P<tag>[^"\x00-\x20\x7f]*+)"|(?P<bare>[a-z0-9]++:[0-9a-f]++))[ \t]*+(?:,|$)'
)
_NOTHING_MORE = re.compile(r"[ \t,]*+")


def etag_of(digest: Digest) -> str:
    """Return the entity tag of content that has this digest."""
    return f'"{digest}"'


class Verdict(Enum):
    """What is to be done about content that could be sent."""

    SEND = "send"
    HELD = "held"
    """The client has it already."""
    UNWANTED = "unwanted"
    """The client wants what it names or nothing, and this is not it."""


def judge(headers: CIMultiDictProxy[str], etag: str) -> Verdict:
    """Return what the headers of a request mean for content that has this entity tag."""
    wanted = _tags(headers, "If-Match")
    if wanted is not None and not wanted & {"*", etag}:
        return Verdict.UNWANTED
    held = _tags(headers, "If-None-Match") or set()
    return Verdict.HELD if held & {"*", etag, f"W/{etag}"} else Verdict.SEND


def _tags(headers: CIMultiDictProxy[str], name: str) -> set[str] | None:
    """Return the entity tags that a header lists; None without it, or where it is malformed."""
    if name not in headers:
        return None
    header = ", ".join(headers.getall(name))
    if header.strip() == "*":
        return {"*"}
    tags = set()
    position = 0
    while match := _TAG.match(header, position):
        tags.add(f'{match["weak"] or ""}"{match["bare"] or match["tag"]}"')
        position = match.end()
    return tags if _NOTHING_MORE.fullmatch(header, position) else None
