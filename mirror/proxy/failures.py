"""Failed look-ups, remembered for a moment: clients follow a failed HEAD with a GET, and fleets ask in chorus."""

from __future__ import annotations

import json
from datetime import timedelta

from mirror.errors import MirrorError, Refused, UpstreamLoops, UpstreamUnavailable
from mirror.oci.reference import Reference
from mirror.proxy.cache_status import Kind
from mirror.proxy.interfaces.store import ShortLivedCache
from mirror.proxy.routing import Route

UNAVAILABLE_SECONDS = 5.0
"""How long "upstream could not be asked" is believed: it says nothing about the content."""


def _family(base: type[MirrorError]) -> dict[str, type[MirrorError]]:
    found = {base.__name__: base}
    for kind in base.__subclasses__():
        found |= _family(kind)
    return found


_KINDS = _family(Refused) | _family(UpstreamUnavailable)


class Failures:
    """What upstream refused (for `negative_ttl`) and when it could not be asked (for a few seconds).

    A look-up is of a reference, or, with None, of the repository as a whole.
    """

    def __init__(self, cache: ShortLivedCache, negative_ttl: timedelta) -> None:
        self._cache = cache
        self._negative_ttl = negative_ttl

    async def recall(self, kind: Kind, route: Route, reference: Reference | None) -> None:
        """Raise the error that a look-up ended with a moment ago, marked as remembered.

        The reference is None for what is about the whole repository.
        """
        value = await self._cache.get(_key(kind, route, reference))
        if value is None:
            return
        name, message, retry_after = json.loads(value)
        error = _KINDS[name](message)
        if isinstance(error, UpstreamUnavailable):
            error.retry_after = retry_after
        error.remembered = True
        raise error

    async def known(self, kind: Kind, route: Route, reference: Reference | None) -> bool:
        """Tell whether the look-up failed a moment ago."""
        return await self._cache.get(_key(kind, route, reference)) is not None

    async def remember(
        self, kind: Kind, route: Route, reference: Reference | None, error: Refused | UpstreamUnavailable
    ) -> None:
        """Note how the look-up failed."""
        if error.remembered or isinstance(error, UpstreamLoops):
            # Who asks in another way, or by himself, may have another answer.
            return
        seconds = self._negative_ttl.total_seconds() if isinstance(error, Refused) else UNAVAILABLE_SECONDS
        retry_after = error.retry_after if isinstance(error, UpstreamUnavailable) else None
        value = json.dumps([type(error).__name__, str(error), retry_after])
        await self._cache.set(_key(kind, route, reference), value, seconds)

    async def forget(self, kind: Kind, route: Route, reference: Reference) -> None:
        """Upstream says otherwise by now."""
        await self._cache.delete(_key(kind, route, reference))


def _key(kind: Kind, route: Route, reference: Reference | None) -> str:
    return f"{kind} {route} {reference}"
