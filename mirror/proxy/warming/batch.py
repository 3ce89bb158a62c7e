"""Warming several images, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mirror.proxy.warming.in_turn import in_turn
from mirror.proxy.warming.warm import Warm
from mirror.proxy.warming.warmth import Progress, Wanted, Warmed

IMAGES_AT_ONCE = 3
"""Images of one batch that are fetched at a time."""


class Batch:
    """Some images on their way; `under_way` are those that are being fetched now."""

    def __init__(self, warm: Warm) -> None:
        self._warm = warm
        self.under_way: list[Progress] = []

    async def run(self, wanted: Iterable[Wanted], told: Callable[[Warmed], None]) -> None:
        """Warm each image, and tell how it went as soon as it is known."""

        async def one(image: Wanted) -> None:
            progress = Progress(image.image)
            self.under_way.append(progress)
            try:
                told(await self._warm.image(image, progress))
            finally:
                self.under_way.remove(progress)

        await in_turn(wanted, IMAGES_AT_ONCE, one)
