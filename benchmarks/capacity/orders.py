"""In which order a full cache forgets: the mirror's own, and those it is compared with."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from benchmarks.capacity.trace import Image, Part, Request
from mirror.oci.digest import Digest
from mirror.proxy.events.observer import Event
from mirror.store.index import Index
from mirror.store.rows import Rows


class Order(Protocol):
    """Which part goes first. `at` is the number of the request that is being answered."""

    def add(self, part: Part, at: int) -> None:
        """The part has come."""

    def use(self, part: Part, image: Image, at: int) -> None:
        """The part was there, and is used for this image."""

    def next_to_go(self) -> int:
        """Return the number of the part to forget, and forget it."""


@cache
def _digest(number: int) -> Digest:
    return Digest.of(b"%d" % number)


class _Nobody:
    def notify(self, event: Event) -> None:
        """Tell nobody."""


class Mirror:
    """The store's own index: blobs before manifests, and a manifest that is used renews all its image holds."""

    def __init__(self) -> None:
        self._now = 0.0
        self._index = Index(Rows(Path("unused"), _Nobody()), lambda: self._now)
        self._numbers: dict[Digest, int] = {}

    def add(self, part: Part, at: int) -> None:
        self._now = float(at)
        self._numbers[_digest(part.number)] = part.number
        self._index.add(_digest(part.number), part.size, is_manifest=part.is_manifest)

    def use(self, part: Part, image: Image, at: int) -> None:
        self._now = float(at)
        if part.is_manifest:
            for layer in image.layers:
                self._index.touch(_digest(layer.number))
        self._index.touch(_digest(part.number))

    def next_to_go(self) -> int:
        digest, _ = next(self._index.first_to_go())
        self._index.remove(digest)
        return self._numbers[digest]


class Lru:
    """What was used longest ago goes first, whatever it is."""

    def __init__(self) -> None:
        self._parts: OrderedDict[int, None] = OrderedDict()

    def add(self, part: Part, at: int) -> None:
        self._parts[part.number] = None

    def use(self, part: Part, image: Image, at: int) -> None:
        self._parts.move_to_end(part.number)

    def next_to_go(self) -> int:
        return self._parts.popitem(last=False)[0]


class Sieve:
    """A hand goes from the oldest to the newest, spares once what was used, takes what was not (SIEVE, NSDI '24)."""

    def __init__(self) -> None:
        self._parts: OrderedDict[int, bool] = OrderedDict()
        self._ahead: list[int] = []

    def add(self, part: Part, at: int) -> None:
        self._parts[part.number] = False

    def use(self, part: Part, image: Image, at: int) -> None:
        self._parts[part.number] = True

    def next_to_go(self) -> int:
        while True:
            if not self._ahead:
                self._ahead = list(reversed(self._parts))
            number = self._ahead.pop()
            if not self._parts.get(number, True):
                del self._parts[number]
                return number
            if number in self._parts:
                self._parts[number] = False


class Lfu:
    """What was used least often since it came goes first; among equals the one that came first."""

    def __init__(self) -> None:
        self._uses: dict[int, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, int]] = []

    def _note(self, number: int, uses: int, at: int) -> None:
        self._uses[number] = uses, at
        heapq.heappush(self._heap, (uses, at, number))

    def add(self, part: Part, at: int) -> None:
        self._note(part.number, 1, at)

    def use(self, part: Part, image: Image, at: int) -> None:
        self._note(part.number, self._uses[part.number][0] + 1, at)

    def next_to_go(self) -> int:
        while True:
            uses, at, number = heapq.heappop(self._heap)
            if self._uses.get(number) == (uses, at):
                del self._uses[number]
                return number


class Belady:
    """What is used next at the latest time goes first: it knows the future. As sizes differ, nearly the best."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._next = [len(requests)] * len(requests)
        last: dict[int, int] = {}
        for at in range(len(requests) - 1, -1, -1):
            self._next[at] = last.get(requests[at].part.number, len(requests))
            last[requests[at].part.number] = at
        self._used: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []

    def add(self, part: Part, at: int) -> None:
        self._used[part.number] = self._next[at]
        heapq.heappush(self._heap, (-self._next[at], part.number))

    def use(self, part: Part, image: Image, at: int) -> None:
        self.add(part, at)

    def next_to_go(self) -> int:
        while True:
            used, number = heapq.heappop(self._heap)
            if self._used.get(number) == -used:
                del self._used[number]
                return number


ORDERS: dict[str, Callable[[Sequence[Request]], Order]] = {
    "mirror": lambda _: Mirror(),
    "LRU": lambda _: Lru(),
    "LFU": lambda _: Lfu(),
    "SIEVE": lambda _: Sieve(),
    "Belady": Belady,
}
