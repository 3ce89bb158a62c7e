"""Origins: what credentials are bound to (RFC 6454)."""

from __future__ import annotations

import re

from yarl import URL

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._~%-]{1,45})?")
# As long as a name can be (RFC 1035, 2.3.4), and written as names and addresses are.


def origin_of(url: URL) -> URL:
    """Return scheme, host and port of `url`; the scheme's usual port is the same written or left out."""
    origin = url.origin()
    return origin.with_port(None) if origin.is_default_port() else origin


def has_proper_host(url: URL) -> bool:
    """Tell whether the host of `url` is written as one; it will be looked up, and named in errors and logs.

    Raises ValueError for a name that cannot be decoded.
    """
    return bool(url.host) and _HOST.fullmatch(url.raw_host or "") is not None
