"""How it goes with an image that is to be warm: what is wanted of it, how far it is, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mirror.errors import MirrorError
from mirror.oci.platforms import Platforms


class Warmth(StrEnum):
    """How it went with an image; a closed set, because it labels metrics."""

    WARMED = "warmed"
    """Something of it had to be fetched; now all that was wanted of it is there."""
    PRESENT = "present"
    """All of it was there already."""
    SPARED = "spared"
    """It was left, at least in part: its upstream's limit is worth more."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image as people name it, and the platforms of it that are wanted."""

    image: str
    platforms: Platforms


@dataclass(slots=True, eq=False)
class Progress:
    """How far an image is: `done` bytes of it are here, of `total` once that is known; `fetched` of them came now."""

    image: str
    done: int = 0
    total: int | None = None
    fetched: int = 0


@dataclass(frozen=True, slots=True)
class Warmed:
    """How it went with an image; `size` is of what was wanted of it, `fetched` of what came now, in bytes.

    `error` is why it is spared or failed.
    """

    image: str
    warmth: Warmth
    size: int = 0
    fetched: int = 0
    error: MirrorError | None = None
