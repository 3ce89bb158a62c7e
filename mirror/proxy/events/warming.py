"""Images fetched, and tags revalidated, before a client asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageWarmed:
    """An image was to be had in the cache: `fetched` bytes came from its upstream for it.

    Outcome is `warmed`, `present`, `spared` or `failed` (see warming.warmth); `error` is why it is one of the last two.
    """

    image: str
    outcome: str
    fetched: int = 0
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class WarmingRoundFinished:
    """What is to be warm has been looked after once more, at this time (epoch seconds).

    `images` is how many ended how, by outcome (see ImageWarmed).
    """

    at: float
    images: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HotTagRefreshed:
    """Upstream was asked about a tag before clients had to wait for it; outcome is `unchanged`, `moved` or `failed`."""

    outcome: str
