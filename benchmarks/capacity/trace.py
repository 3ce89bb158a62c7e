"""Requests shaped like those of production registries, the same for the same seed.

Published (Anwar et al., FAST '18): nearly all requests are GET or HEAD, most requested layers are smaller than 1 MB,
the largest have GBs, few images get most of the pulls. Assumed, and named here: the numbers below.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

MANIFEST = 1500
_MEGABYTE, _LARGEST = 1_000_000, 4_000_000_000
_SPREAD = 2.5
# Log-normal: with 65 % below 1 MB the median is 0.38 MB, the mean 8.7 MB.
_SMALL = 0.385
# So many spreads above the median 65 % lie.
_BASES, _OF_BASE = 40, (2, 5)
_OWN = (1, 8)
_SKEW = 1.0
_WATCHED = 0.9
# Of the requests for a manifest, so many only look whether it is a new one.
_FRESH_CLIENT = 0.2
# CI runners, which begin with nothing.
_BURST, _IN_BURST = 0.05, (5, 40)
_RENEWED = 0.01
# A release: an image is replaced by one with another manifest and the same base.


@dataclass(frozen=True, slots=True)
class Part:
    """A manifest or another blob: its number, and its size in bytes."""

    number: int
    size: int
    is_manifest: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a repository: its manifest, and what that refers to."""

    repository: int
    manifest: Part
    layers: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request for a part of an image."""

    client: int
    image: Image
    part: Part


class _World:
    """The images there are, and which clients have what."""

    def __init__(self, seed: int, images: int, clients: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  # the same every time is what it is for
        self._parts = 0
        self._bases = [self._layers(_OF_BASE) for _ in range(_BASES)]
        self.images = [self._image(number) for number in range(images)]
        self._weights = list(accumulate(1 / (rank + 1) ** _SKEW for rank in range(images)))
        self._has: list[set[int]] = [set() for _ in range(clients)]

    def _part(self) -> Part:
        self._parts += 1
        size = self.random.lognormvariate(math.log(_MEGABYTE) - _SMALL * _SPREAD, _SPREAD)
        return Part(self._parts, int(min(max(size, 200), _LARGEST)))

    def _layers(self, count: tuple[int, int]) -> tuple[Part, ...]:
        return tuple(self._part() for _ in range(self.random.randint(*count)))

    def _image(self, repository: int) -> Image:
        base = self._bases[repository % _BASES]
        self._parts += 1
        manifest = Part(self._parts, MANIFEST, is_manifest=True)
        return Image(repository, manifest, base + self._layers(_OWN))

    def pulled(self) -> Image:
        """Return the image that somebody pulls next; now and then a new release of it."""
        [number] = self.random.choices(range(len(self.images)), cum_weights=self._weights)
        if self.random.random() < _RENEWED:
            self.images[number] = self._image(number)
        return self.images[number]

    def pull(self, image: Image) -> Iterator[Request]:
        """Yield what one client asks for: layers that it has it does not."""
        client = self.random.randrange(len(self._has))
        yield Request(client, image, image.manifest)
        if self.random.random() < _WATCHED:
            return
        has = set() if self.random.random() < _FRESH_CLIENT else self._has[client]
        for layer in image.layers:
            if layer.number not in has:
                has.add(layer.number)
                yield Request(client, image, layer)


def trace(seed: int, requests: int, images: int = 1500, clients: int = 200) -> list[Request]:
    """Return so many requests of clients for images."""
    world = _World(seed, images, clients)
    found: list[Request] = []
    while len(found) < requests:
        image = world.pulled()
        times = world.random.randint(*_IN_BURST) if world.random.random() < _BURST else 1
        for _ in range(times):
            found += world.pull(image)
    return found[:requests]


def working_set(requests: Sequence[Request]) -> int:
    """Return how many bytes all parts that are asked for have together."""
    return sum({request.part.number: request.part.size for request in requests}.values())
