"""Pinned images are kept warm: when a tag moves, what is fetched is what was cached of the image before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container

from mirror.oci.platforms import Platforms
from mirror.proxy.operations.catalogue import Catalogue, Pins, Snapshot
from mirror.proxy.operations.naming import FullName
from mirror.proxy.warming.warmth import Wanted


class Kept:
    """What is pinned, of the `upstreams` that there are, and which platforms of it; else the `usual` ones."""

    def __init__(
        self,
        pins: Callable[[], Awaitable[Pins]],
        catalogue: Catalogue,
        upstreams: Container[str],
        usual: Platforms,
    ) -> None:
        self._pins = pins
        self._catalogue = catalogue
        self._upstreams = upstreams
        self._usual = usual

    async def wanted(self) -> list[Wanted]:
        """Return the pinned images; raises StoreFailed."""
        pins = [pin for pin in await self._pins() if pin.route.upstream in self._upstreams]
        if not pins:
            # The usual case, and a look at all there is would be a lot for it.
            return []
        snapshot = await self._catalogue.look()
        return [Wanted(str(pin), await self._platforms(snapshot, pin)) for pin in sorted(pins, key=str)]

    async def _platforms(self, snapshot: Snapshot, pin: FullName) -> Platforms:
        """Return the platforms of an image that are cached."""
        cached = [
            child
            for root in snapshot.stored(pin)
            for child in await self._catalogue.contents(root)
            if child.is_manifest and snapshot.is_manifest(child.digest)
        ]
        return Platforms.of(cached) or self._usual
