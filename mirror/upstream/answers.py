"""What a registry's answer means: status to error, headers to values, bodies under a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from mirror.errors import (
    Denied,
    InvalidDigest,
    MirrorError,
    Refused,
    Unauthorized,
    UpstreamFailed,
    UpstreamInvalid,
    UpstreamLoops,
    UpstreamThrottled,
)
from mirror.oci.digest import Digest
from mirror.oci.media_types import without_parameters
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.upstream.egress import translated
from mirror.upstream.origin import origin_of

_MAX_RETRY_AFTER = 3600
_PAGES = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True, slots=True)
class RegistryRequest:
    """A request for `/v2/<repository>/<path>?<query>`: which statuses it accepts, and what those of `absent` mean.

    Without a repository it is for `/v2/` itself. `headers` are those that it has beside Accept; they go along when it
    is redirected. Beside it, `spares` connections are opened for what follows it.
    """

    method: str
    kind: Kind
    repository: Repository | None
    path: str
    unknown: type[Refused]
    accept: str = ""
    accepted: frozenset[int] = frozenset({200})
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    spares: int = 0
    absent: frozenset[int] = frozenset({404})


def check(response: aiohttp.ClientResponse, registry: URL, request: RegistryRequest) -> None:
    """Return if the answer is an accepted one; else let it go and raise what it means.

    `registry` is the origin that was asked.
    """
    if response.status not in request.accepted:
        response.release()
        raise _error(response, registry, request)


def _error(response: aiohttp.ClientResponse, registry: URL, request: RegistryRequest) -> MirrorError:
    status = response.status
    if status in request.absent:
        return request.unknown("upstream does not have it")
    match status:
        # The host that a registry redirects to cannot speak for the registry.
        case 401 | 403 if origin_of(response.url) == registry:
            refusal = Unauthorized if status == 401 else Denied
            return refusal("upstream refuses access to this repository")
        case 429:
            return UpstreamThrottled("upstream limits the rate of requests", retry_after(response))
        case 508:
            return UpstreamLoops("upstream refuses to be asked in a circle: it, or one behind it, asks this mirror")
    if status >= 500:
        return UpstreamFailed(f"upstream answered {status}")
    return UpstreamInvalid(f"upstream answered {status}")


def retry_after(response: aiohttp.ClientResponse) -> int | None:
    """Return the seconds of a Retry-After header in either of its forms, at most an hour; None if unreadable.

    A date is counted from that of the answer itself: the mirror's clock, or upstream's, may be wrong.
    """
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:9]), _MAX_RETRY_AFTER)
    until, now = _date(value), _date(response.headers.get("Date", "")) or datetime.now(UTC)
    return None if until is None else max(0, min(int((until - now).total_seconds()), _MAX_RETRY_AFTER))


def _date(value: str) -> datetime | None:
    """Return the time that a header tells, None if it tells none."""
    try:
        date = parsedate_to_datetime(value)
        return date.astimezone(UTC) if date.tzinfo is not None else None
    except (ValueError, TypeError, OverflowError):
        return None


def is_page(response: aiohttp.ClientResponse) -> bool:
    """Tell whether it is a page for people, which portals send with a 200 to who has to log in first."""
    return without_parameters(response.headers.get("Content-Type", "")) in _PAGES


def declared_digest(response: aiohttp.ClientResponse) -> Digest | None:
    """Return the Docker-Content-Digest header, None if it is missing or malformed."""
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except InvalidDigest:
        return None


async def read_capped(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body of at most `limit` bytes and let the response go; raises UpstreamInvalid for a longer one."""
    with translated(response.url):
        try:
            if (response.content_length or 0) > limit:
                raise UpstreamInvalid(f"upstream sent more than {limit} bytes")
            data = bytearray()
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > limit:
                    raise UpstreamInvalid(f"upstream sent more than {limit} bytes")
            return bytes(data)
        finally:
            response.release()
