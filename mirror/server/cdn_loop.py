"""The CDN-Loop header (RFC 8586), as far as it can be read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105  # the grammar's word
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"'
# A host is a token as well, but for the brackets of IPv6, and a port behind it.
_ID = rf"(?:{_TOKEN}|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
_MEMBER = re.compile(rf"({_ID})(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))*(?=[ \t]*(?:,|$))", re.ASCII)
_NEXT = re.compile(r"[^,]*(?:,[ \t,]*|$)")


def parse_members(headers: Iterable[str]) -> tuple[str, ...]:
    """Return the members of all lines, in order and as they stand; what is none is left out."""
    return tuple(member for header in headers for member in _members(header.strip(" \t,")))


def id_of(member: str) -> str:
    """Return whom a member stands for, without its parameters."""
    return member.partition(";")[0].rstrip(" \t")


def _members(header: str) -> Iterable[str]:
    at = 0
    while at < len(header):
        if member := _MEMBER.match(header, at):
            yield member[0]
            at = member.end()
        following = _NEXT.match(header, at)
        assert following is not None  # noqa: S101  # it matches anything
        at = following.end()
