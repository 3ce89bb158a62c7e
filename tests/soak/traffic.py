"""What clients ask for: popular things more often than others, one thing all at once now and then, in all manners."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from tests.soak.catalogue import REPOSITORIES, TAGS, Catalogue, Held, Zipf
from tests.soak.client import Client, Manner, Question
from tests.soak.fleet import Fleet
from tests.soak.history import Ending, Recorder

_SPOTLIGHT_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
# Between two requests of a client, on average.

_DISCOURAGED_SECONDS = 0.3
# Before a client asks again that found a mirror down.

_BIG = 1024 * 1024


class Spotlight:
    """One large blob that everybody wants for a while: how herds come about."""

    def __init__(self, chance: random.Random, catalogue: Catalogue) -> None:
        self._chance = chance
        self._big = [pair for pair in catalogue.blobs() if len(catalogue.content[pair[1]]) > _BIG]
        self._until = 0.0
        self.repository, self.digest = "", ""

    def turn(self) -> tuple[str, str]:
        """Return the repository and digest that are in it now."""
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            self._until = now + _SPOTLIGHT_SECONDS
            self.repository, self.digest = self._chance.choice(self._big)
        return self.repository, self.digest


@dataclass
class Traffic:
    """Clients that ask until they are told to stop."""

    catalogue: Catalogue
    fleet: Fleet
    recorder: Recorder
    seed: int

    async def run(self, clients: int, stopping: asyncio.Event) -> None:
        """Let that many clients ask; returns once all have their last answer."""
        spotlight = Spotlight(random.Random(f"{self.seed}/spotlight"), self.catalogue)
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                shopper = _Shopper(self, random.Random(f"{self.seed}/client/{number}"), spotlight)
                group.create_task(shopper.run(stopping))


class _Shopper:
    """One client and its whims."""

    def __init__(self, traffic: Traffic, chance: random.Random, spotlight: Spotlight) -> None:
        self._traffic = traffic
        self._chance = chance
        self._spotlight = spotlight
        self._catalogue = traffic.catalogue
        self._images = Zipf(chance, len(self._catalogue.held))

    async def run(self, stopping: asyncio.Event) -> None:
        async with Client(self._traffic.recorder) as self._client:
            while not stopping.is_set():
                act = self._chance.choices((self._blob, self._joint, self._image, self._tag, self._manifest), _WEIGHTS)
                await act[0]()
                await asyncio.sleep(self._chance.expovariate(1 / _PAUSE_SECONDS))

    async def _blob(self) -> None:
        held = self._held()
        await self._ask_blob(held.repository, self._chance.choice(held.image.blobs).digest)

    async def _joint(self) -> None:
        await self._ask_blob(*self._spotlight.turn())

    async def _image(self) -> None:
        """All of an image, as an engine pulls it: some of its layers at once."""
        held = self._held()
        await self._ask(Question(held.repository, "manifests", held.image.digest), Manner())
        async with asyncio.TaskGroup() as group:
            for blob in held.image.blobs:
                group.create_task(self._ask(Question(held.repository, "blobs", blob.digest), Manner()))

    async def _tag(self) -> None:
        question = Question(self._chance.choice(REPOSITORIES), "manifests", self._chance.choice(TAGS), self._method())
        await self._ask(question, Manner())

    async def _manifest(self) -> None:
        held = self._held()
        await self._ask(Question(held.repository, "manifests", held.image.digest, self._method()), Manner())

    async def _ask_blob(self, repository: str, digest: str) -> None:
        size = len(self._catalogue.content[digest])
        question = Question(repository, "blobs", digest, self._method(), self._range(size))
        await self._ask(question, self._manner(size))

    async def _ask(self, question: Question, manner: Manner) -> None:
        mirror = self._chance.choice(self._traffic.fleet.mirrors)
        if await self._client.ask(mirror.name, mirror.url, question, manner) is Ending.UNANSWERED:
            await asyncio.sleep(_DISCOURAGED_SECONDS)

    def _held(self) -> Held:
        return self._catalogue.held[self._images.draw()]

    def _method(self) -> str:
        return "HEAD" if self._chance.random() < 0.1 else "GET"

    def _range(self, size: int) -> str | None:
        if self._chance.random() >= 0.25:
            return None
        places = sorted(self._chance.randrange(size) for _ in range(2 * self._chance.randint(2, 5)))
        first, last = places[:2]
        several = ",".join(f"{places[at]}-{places[at + 1] - 1}" for at in range(0, len(places), 2))
        return self._chance.choice(
            (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{size - first}", f"bytes={several}")
        )

    def _manner(self, size: int) -> Manner:
        whim = self._chance.random()
        if whim < 0.1:
            pieces = size / (64 * 1024) + 1
            return Manner(pause=self._chance.uniform(0.5, 3.0) / pieces)
        return Manner(enough=self._chance.randrange(1, size + 1)) if whim < 0.2 else Manner()


_WEIGHTS = (30, 25, 15, 20, 10)
