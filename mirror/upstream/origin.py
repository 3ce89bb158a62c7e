"""Origins: what credentials are bound to (RFC 6454)."""

from __future__ import annotations

from yarl import URL


def origin_of(url: URL) -> URL:
    """Return scheme, host and port of `url`; the scheme's usual port is the same written or left out."""
    origin = url.origin()
    return origin.with_port(None) if origin.is_default_port() else origin
