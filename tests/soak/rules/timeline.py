"""Things that last, found by when they did, so that judging hours takes minutes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Lasting(Protocol):
    """Something between two times."""

    @property
    def t0(self) -> float: ...

    @property
    def t1(self) -> float: ...


Thing = TypeVar("Thing", bound=Lasting)


class Timeline(Generic[Thing]):
    """Any number of things, in the order of their beginnings."""

    def __init__(self, things: Iterable[Thing]) -> None:
        self._things = sorted(things, key=lambda thing: thing.t0)
        self._begins = [thing.t0 for thing in self._things]
        self._longest = max((thing.t1 - thing.t0 for thing in self._things), default=0.0)

    def during(self, begin: float, end: float) -> Iterator[Thing]:
        """Yield those that overlap this time, or touch it."""
        first = bisect_left(self._begins, begin - self._longest)
        last = bisect_right(self._begins, end)
        return (thing for thing in self._things[first:last] if thing.t1 >= begin)

    def seconds(self, begin: float, end: float) -> float:
        """Return how much of this time they take; they must not overlap each other."""
        return sum(min(end, thing.t1) - max(begin, thing.t0) for thing in self.during(begin, end))
