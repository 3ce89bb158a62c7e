"""All that the registry holds: images over a few repositories, the same for the same seed; some are in two of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from tests.fakes.content import FakeImage, image
from tests.fakes.registry import FakeRegistry
from tests.soak.history import Terms

REPOSITORIES = ("library/alpha", "library/beta", "team/gamma", "team/sub/delta")
TAGS = ("latest", "edge")

_KIB = 1024
_SIZES = ((0.60, 4 * _KIB, 256 * _KIB), (0.30, 256 * _KIB, 2048 * _KIB), (0.10, 2048 * _KIB, 6144 * _KIB))
# Share of the layers, and between which sizes they lie.


@dataclass(frozen=True, slots=True)
class Held:
    """An image in a repository."""

    repository: str
    image: FakeImage


@dataclass
class Catalogue:
    """The images, in the order of their popularity, and the bytes behind every digest."""

    held: list[Held]
    content: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, terms: Terms) -> Catalogue:
        """Return what these terms describe."""
        return cls.from_seed(terms.seed, terms.images)

    @classmethod
    def from_seed(cls, seed: int, images: int) -> Catalogue:
        """Return that many images of three layers each."""
        chance = random.Random(f"{seed}/catalogue")
        catalogue = cls([])
        for number in range(images):
            made = image(size=[_size(chance) for _ in range(3)], seed=f"soak/{seed}/{number}")
            catalogue.content[made.digest] = made.manifest.data
            catalogue.content.update({blob.digest: blob.data for blob in made.blobs})
            for repository in _homes(number):
                catalogue.held.append(Held(repository, made))
        chance.shuffle(catalogue.held)
        return catalogue

    @property
    def size(self) -> int:
        """Bytes of everything."""
        return sum(len(data) for data in self.content.values())

    def fill(self, registry: FakeRegistry) -> None:
        """Put everything into the registry, without tags."""
        for held in self.held:
            registry.add_image(held.repository, None, held.image)

    def of_repository(self, repository: str) -> list[FakeImage]:
        """The images that its tags may point to."""
        return [held.image for held in self.held if held.repository == repository]

    def blobs(self) -> Iterator[tuple[str, str]]:
        """Repository and digest of every blob, the most popular first."""
        for held in self.held:
            for blob in held.image.blobs:
                yield held.repository, blob.digest


class Zipf:
    """Draws indexes below `count`: the second half as often as the first, the third a third as often, and so on."""

    def __init__(self, chance: random.Random, count: int) -> None:
        self._chance = chance
        self._indexes = range(count)
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(count)))

    def draw(self) -> int:
        return self._chance.choices(self._indexes, cum_weights=self._weights)[0]


def _homes(number: int) -> list[str]:
    """The repositories that an image is in; every third one is in two."""
    homes = [REPOSITORIES[number % len(REPOSITORIES)]]
    return [*homes, REPOSITORIES[(number + 1) % len(REPOSITORIES)]] if number % 3 == 0 else homes


def _size(chance: random.Random) -> int:
    _, least, most = chance.choices(_SIZES, [share for share, _, _ in _SIZES])[0]
    return int(least * (most / least) ** chance.random())
