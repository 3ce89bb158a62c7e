"""The headers by which a registry tells what it lets be pulled: `ratelimit-limit: 100;w=21600` and its like. Pure.

Docker Hub sends them with manifests, by HEAD and GET alike. Anything is taken, and what cannot be read says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mirror.proxy.rate_limit import RateLimit

_NUMBER = re.compile(r"[0-9]{1,9}")


def rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """Return what the headers say; None if they are not there, or say something else, or that there is no limit."""
    limit = _quantity(headers.get("RateLimit-Limit", ""))
    remaining = _quantity(headers.get("RateLimit-Remaining", ""))
    if limit is None or remaining is None or limit[0] == 0:
        return None
    return RateLimit(limit[0], min(limit[0], remaining[0]), limit[1] or remaining[1])


def counted_for(headers: Mapping[str, str]) -> str | None:
    """Return for whom the registry counts, an address or an account, None if it does not say. It is not to be shown."""
    return headers.get("Docker-RateLimit-Source", "").strip() or None


def _quantity(header: str) -> tuple[int, int | None] | None:
    """Return a number and the seconds it is for; of a list, the first is the one that is closest to its end."""
    number, *parameters = (part.strip() for part in header.partition(",")[0].split(";"))
    if not _NUMBER.fullmatch(number):
        return None
    windows = (value.strip() for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "w")
    return int(number), next((int(value) for value in windows if _NUMBER.fullmatch(value) and int(value)), None)
