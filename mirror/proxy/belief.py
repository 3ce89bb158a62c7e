"""What is known of a repository to be public, without asking its registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from mirror.proxy.routing import Route


class Belief(Enum):
    """What a client would be told of a repository."""

    OPEN = auto()
    """It is served: it is public, or its upstream is not guarded."""
    DOUBTED = auto()
    """It was public; its registry is asked first, and it is served while that cannot be asked."""
    UNKNOWN = auto()
    """Nothing of it is served before its registry says that it is public."""
    PRIVATE = auto()
    """It is not public, and not served."""


Believed = Callable[[Route], Awaitable[Belief]]
"""Tells what is known; asks nobody."""


def by_age(age: float | None, fresh: float, stale: float) -> Belief:
    """Return what it means that a repository was public `age` seconds ago, None for never.

    That is believed for `fresh` seconds, and for `stale` more in an outage.
    """
    if age is None or age >= fresh + stale:
        return Belief.UNKNOWN
    return Belief.OPEN if 0 <= age < fresh else Belief.DOUBTED
