"""What goes wrong, and when: decided by one seed. Each seed has its own few kinds of faults, some often, some never."""

from __future__ import annotations

import random

FAULTS = (
    "cut", "stall", "trickle", "short", "long", "other bytes", "no length", "other length", "range ignored",
    "refused", "throttled", "failed", "silent", "late", "no head length",
    "client slow", "client stalls", "disk slow", "disk refuses", "disk full",
)  # fmt: skip


class Chance(random.Random):
    """Random numbers, and the rates of this seed's faults."""

    def __init__(self, seed: int | str) -> None:
        super().__init__(seed)
        self.rates = {fault: self.uniform(0.01, 0.3) for fault in FAULTS if self.random() < 0.25}
        self.is_calm = False
        """True once nothing goes wrong any more."""

    def strikes(self, fault: str) -> bool:
        """Tell whether this fault happens here and now."""
        rate = self.rates.get(fault, 0.0)
        return not self.is_calm and rate > 0 and self.random() < rate
