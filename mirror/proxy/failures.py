"""Failed look-ups, remembered for a moment: clients follow a failed HEAD with a GET, and fleets ask in chorus."""

from __future__ import annotations

import json
from datetime import timedelta

from mirror import errors
from mirror.errors import MirrorError, Refused, UpstreamThrottled, UpstreamUnavailable
from mirror.oci.reference import Reference
from mirror.proxy.interfaces import ShortLivedCache
from mirror.proxy.routing import Route

UNAVAILABLE_SECONDS = 5.0
"""How long "upstream could not be asked" is believed: it says nothing about the content."""

_KINDS: dict[str, type[MirrorError]] = {
    kind.__name__: kind
    for kind in (
        errors.ManifestUnknown,
        errors.BlobUnknown,
        errors.Denied,
        errors.UpstreamUnreachable,
        errors.UpstreamTimeout,
        errors.UpstreamThrottled,
        errors.UpstreamFailed,
        errors.UpstreamInvalid,
    )
}


class Failures:
    """What upstream refused (for `negative_ttl`) and when it could not be asked (for a few seconds)."""

    def __init__(self, cache: ShortLivedCache, negative_ttl: timedelta) -> None:
        self._cache = cache
        self._negative_ttl = negative_ttl

    async def recall(self, route: Route, reference: Reference) -> None:
        """Raise the error that a look-up of this reference ended with a moment ago, marked as remembered."""
        value = await self._cache.get(_key(route, reference))
        if value is None:
            return
        kind, message, retry_after = json.loads(value)
        error = _KINDS[kind](message)
        if isinstance(error, UpstreamThrottled):
            error.retry_after = retry_after
        error.remembered = True
        raise error

    async def remember(self, route: Route, reference: Reference, error: Refused | UpstreamUnavailable) -> None:
        """Note how the look-up failed."""
        kind = type(error).__name__
        if kind not in _KINDS or error.remembered:
            return
        seconds = self._negative_ttl.total_seconds() if isinstance(error, Refused) else UNAVAILABLE_SECONDS
        retry_after = error.retry_after if isinstance(error, UpstreamThrottled) else None
        await self._cache.set(_key(route, reference), json.dumps([kind, str(error), retry_after]), seconds)


def _key(route: Route, reference: Reference) -> str:
    return f"{route} {reference}"
