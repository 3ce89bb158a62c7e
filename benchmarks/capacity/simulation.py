"""A cache of some size, some order and some requests: what it answers itself, and what it has to fetch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.capacity.orders import Order
from benchmarks.capacity.trace import Request


@dataclass(slots=True)
class Outcome:
    """How many requests and bytes there were, how many of them were hits, and how many manifests were fetched."""

    requests: int = 0
    bytes: int = 0
    hits: int = 0
    hit_bytes: int = 0
    pulls: int = 0

    @property
    def hit_ratio(self) -> float:
        """The share of requests that were hits."""
        return self.hits / self.requests

    @property
    def byte_hit_ratio(self) -> float:
        """The share of bytes that were hits."""
        return self.hit_bytes / self.bytes

    @property
    def upstream_bytes(self) -> int:
        """The bytes that were fetched."""
        return self.bytes - self.hit_bytes


class Cache:
    """Parts of so many bytes at most; what is larger than half of it is never kept, as in the mirror."""

    def __init__(self, size: int, order: Order) -> None:
        self._size = size
        self._order = order
        self._sizes: dict[int, int] = {}
        self._used = 0

    def answer(self, request: Request, at: int, outcome: Outcome) -> None:
        """Answer a request, the `at`th of all, and note in `outcome` what it cost."""
        part = request.part
        outcome.requests += 1
        outcome.bytes += part.size
        if part.number in self._sizes:
            outcome.hits += 1
            outcome.hit_bytes += part.size
            self._order.use(part, request.image, at)
            return
        outcome.pulls += part.is_manifest
        if part.size <= self._size // 2:
            while self._used + part.size > self._size:
                self._used -= self._sizes.pop(self._order.next_to_go())
            self._sizes[part.number] = part.size
            self._used += part.size
            self._order.add(part, at)


def one_machine(requests: Sequence[Request], size: int, order: Order) -> Outcome:
    """Return what comes of the requests with one cache."""
    outcome, cache = Outcome(), Cache(size, order)
    for at, request in enumerate(requests):
        cache.answer(request, at, outcome)
    return outcome


def by_client(request: Request, machines: int) -> int:
    """Return the machine that the client has always been told to use."""
    return request.client % machines


def by_repository(request: Request, machines: int) -> int:
    """Return the machine that consistent (rendezvous) hashing gives the repository to."""
    name = request.image.repository
    return max(range(machines), key=lambda machine: hashlib.sha256(b"%d/%d" % (machine, name)).digest())


def several_machines(
    requests: Sequence[Request], sizes: Sequence[int], order: Callable[[], Order], choose: Callable[[Request, int], int]
) -> Outcome:
    """Return what comes of the requests with a cache on each machine, of which `choose` takes one for a request."""
    outcome, caches = Outcome(), [Cache(size, order()) for size in sizes]
    chosen: dict[tuple[int, int], int] = {}
    for at, request in enumerate(requests):
        key = request.client, request.image.repository
        if key not in chosen:
            chosen[key] = choose(request, len(caches))
        caches[chosen[key]].answer(request, at, outcome)
    return outcome
