"""What every request may say behind its path."""

from __future__ import annotations

from urllib.parse import parse_qs

from mirror.errors import UnknownRegistry


def namespace(query: str) -> str | None:
    """Return the `ns` parameter; raises UnknownRegistry if there are several, which would be several answers."""
    values = parse_qs(query, keep_blank_values=True).get("ns", [])
    if len(values) > 1:
        raise UnknownRegistry("ns is given more than once")
    return values[0] if values else None
