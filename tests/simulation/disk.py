"""A disk that is slow, refuses a call now and then, or is full for a while."""

from __future__ import annotations

import asyncio

from tests.simulation.chance import Chance
from tests.unit.proxy.memory_disk import MemoryDisk

_FILLING = {"claim", "expect", "append", "commit"}
_FAIR = {"close"}


class SimulatedDisk(MemoryDisk):
    """Does what the seed says."""

    def __init__(self, chance: Chance) -> None:
        super().__init__()
        self._chance = chance
        self._full_until = 0.0
        self.is_full = False
        self.has_refused = False
        """True once any call was refused: from then on, one transfer need not be enough."""

    def refuses(self, doing: str) -> bool:
        refused = doing not in _FAIR and (self._is_too_full(doing) or self._chance.strikes("disk refuses"))
        self.has_refused = self.has_refused or refused
        return refused

    def _is_too_full(self, doing: str) -> bool:
        now = asyncio.get_running_loop().time()
        if doing == "append" and self._chance.strikes("disk full"):
            self._full_until = now + self._chance.uniform(0, 30)
        is_full = self.is_full or (now < self._full_until and not self._chance.is_calm)
        return doing in _FILLING and is_full

    async def turn(self, doing: str) -> None:
        slow = self._chance.strikes("disk slow")
        await asyncio.sleep(self._chance.uniform(0, 0.5) if slow else self._chance.choice((0, 0, 0, 0.001)))
