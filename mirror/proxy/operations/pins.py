"""Pins: what is never evicted, neither for room nor for age, with all it holds and all it will hold.

A pin is on a name. It need not be cached yet; and it keeps what a tag pointed to last, even when its upstream has
deleted it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from mirror.errors import NotCached, NotPinned
from mirror.oci.digest import Digest
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.operations import PinChanged
from mirror.proxy.operations.catalogue import Catalogue, Pins
from mirror.proxy.operations.inspection import stored_roots
from mirror.proxy.operations.naming import FullName

MOST_PINS = 10_000
"""How many there may be."""


class PinBoard(Protocol):
    """Where pins are kept, for all processes and beyond the loss of every index. Raises StoreFailed."""

    async def pin(self, name: FullName, digest: Digest | None) -> bool:
        """Keep a pin, and which manifest it is if that is known; False if it was there. Raises TooManyPins."""

    async def unpin(self, name: FullName) -> bool:
        """Keep it no more; False if there was none."""


class Pinning:
    """Pins and unpins."""

    def __init__(self, catalogue: Catalogue, board: PinBoard, observer: Observer) -> None:
        self._catalogue = catalogue
        self._board = board
        self._observer = observer

    async def pinned(self) -> Pins:
        """Return all pins."""
        return (await self._catalogue.look()).pins

    async def waiting(self) -> list[FullName]:
        """Return the pins of images that are not cached."""
        snapshot = await self._catalogue.look()
        return [name for name in snapshot.pins if not snapshot.stored(name)]

    async def pin(self, name: FullName) -> bool:
        """Pin the image, and return whether anything of it is cached; raises TooManyPins."""
        digest: Digest | None = None
        # What is not cached yet is kept from the moment it comes.
        with suppress(NotCached):
            digest = stored_roots(await self._catalogue.look(), name)[0]
        if await self._board.pin(name, digest):
            self._observer.notify(PinChanged(str(name), True))
        return digest is not None

    async def unpin(self, name: FullName) -> FullName:
        """Let the image go again, and return its name; raises NotPinned."""
        if not await self._board.unpin(name):
            raise NotPinned(f"{name} is not pinned")
        self._observer.notify(PinChanged(str(name), False))
        return name
