"""How much may be asked of an upstream that counts what is pulled from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Spending(StrEnum):
    """What may be spent on an upstream now."""

    FREE = "free"
    """Ask as need be: it sets no limit, or there is more left of it than the reserve."""
    SAVING = "saving"
    """The reserve has been reached: what is left is for images that are not cached; nothing else is worth a pull."""
    EXHAUSTED = "exhausted"
    """Nothing is left: no pull is tried before the upstream says that there is."""


class Governor(Protocol):
    """Knows what is left of the limits of all upstreams."""

    def spending(self, upstream: str) -> Spending:
        """Return what may be spent on this upstream now; FREE for one that tells of no limit, or is not known."""
