"""Rounds: what is to be warm is warmed when the mirror starts, and every so often from then on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from mirror.errors import ListUnreadable, StoreFailed
from mirror.oci.platforms import Platforms
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import StoreTroubled, TaskCrashed
from mirror.proxy.events.warming import ImageWarmed, WarmingRoundFinished
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.warming.batch import Batch
from mirror.proxy.warming.kept import Kept
from mirror.proxy.warming.warm import Warm
from mirror.proxy.warming.warmth import Wanted, Warmed, Warmth

JITTER = 0.1
"""A round begins up to this share of the time earlier or later: many mirrors do not ask in chorus."""

AGAIN = timedelta(minutes=5)
"""How soon a round is repeated of which something is not there; then after twice the time, up to the usual one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is warmed besides pins: the images that `listed` names, for these platforms; None: only at the start.

    `listed` raises ListUnreadable, which names the file.
    """

    listed: Callable[[], Awaitable[Sequence[str]]]
    platforms: Platforms
    every: timedelta | None


class Rounds:
    """Warms what is listed, and what is pinned; `chance` returns numbers between 0 and 1."""

    def __init__(
        self, warm: Warm, plan: Plan, kept: Kept, clock: Clock, observer: Observer, chance: Callable[[], float]
    ) -> None:
        self._warm = warm
        self._plan = plan
        self._kept = kept
        self._clock = clock
        self._observer = observer
        self._chance = chance

    async def run(self) -> None:
        """Go on until cancelled, or until the only round has ended."""
        every, again = self._plan.every, AGAIN
        while True:
            is_whole = False
            try:
                is_whole = await self.go_round()
            except Exception as error:  # a bug here must not be the end of all rounds
                self._observer.notify(TaskCrashed("warming", error))
            if every is None:
                return
            pause, again = (every, AGAIN) if is_whole else (min(again, every), min(again * 2, every))
            await asyncio.sleep(pause.total_seconds() * (1 + JITTER * (2 * self._chance() - 1)))

    async def go_round(self) -> bool:
        """Warm each image once, tell how it went with all of them, and whether all that is wanted is there."""
        ended = Counter[Warmth]()

        def told(warmed: Warmed) -> None:
            ended[warmed.warmth] += 1

        wanted = [*await self._listed(ended), *await self._pinned(ended)]
        await Batch(self._warm).run(self._once(wanted), told)
        counts = {str(warmth): ended[warmth] for warmth in Warmth}
        self._observer.notify(WarmingRoundFinished(self._clock(), counts))
        return not ended[Warmth.FAILED] and not ended[Warmth.SPARED]

    async def _listed(self, ended: Counter[Warmth]) -> list[Wanted]:
        try:
            return [Wanted(image, self._plan.platforms) for image in await self._plan.listed()]
        except ListUnreadable as error:
            ended[Warmth.FAILED] += 1
            self._observer.notify(ImageWarmed("all that are listed", Warmth.FAILED, error=error))
            return []

    async def _pinned(self, ended: Counter[Warmth]) -> list[Wanted]:
        try:
            return await self._kept.wanted()
        except StoreFailed as error:
            ended[Warmth.FAILED] += 1
            self._observer.notify(StoreTroubled("look at what is pinned", error))
            return []

    def _once(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Return each image once: one that is listed and pinned is what the list says."""
        found: dict[str, Wanted] = {}
        for image in wanted:
            found.setdefault(self._warm.called(image.image), image)
        return list(found.values())
