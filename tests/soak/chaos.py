"""Trouble, one after the other, with pauses between: for the mirrors, their folder and their upstream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.soak import folder
from tests.soak.catalogue import REPOSITORIES, TAGS, Catalogue
from tests.soak.disk import inflate
from tests.soak.fleet import Fleet
from tests.soak.history import Chaos, Recorder, TagMoved, Trouble
from tests.soak.upstream import SpoiledRegistry

_MOVE_SECONDS = 0.5
# Between two moves of tags, on average.


@dataclass
class Scene:
    """All that chaos can lay its hands on."""

    catalogue: Catalogue
    fleet: Fleet
    registries: list[SpoiledRegistry]
    recorder: Recorder
    has_own_disk: bool


class ChaosMonkey:
    """Does what `chance` says, every `pause` seconds on average."""

    def __init__(self, scene: Scene, chance: random.Random, pause: float) -> None:
        self._scene = scene
        self._chance = chance
        self._pause = pause
        self._flipped: set[str] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until told to stop; all mirrors run and upstream answers in the end."""
        acts: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._kill, 4),
            (self._restart, 1),
            (self._stop, 2),
            (self._flip, 3),
            (self._remove, 3),
            (self._garble, 2),
            (self._outage, 2),
            (self._silence, 1),
            (self._fill_up, 3 if self._scene.has_own_disk else 0),
        ]
        while not await _waits(stopping, self._chance.expovariate(1 / self._pause)):
            act = self._chance.choices([act for act, _ in acts], [weight for _, weight in acts])[0]
            await act()

    # Processes. ------------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        mirror = self._chance.choice(self._scene.fleet.mirrors)
        begun = _now()
        await mirror.kill()
        await self._linger()
        await mirror.start()
        self._note(begun, Trouble.KILL, process=mirror.name)

    async def _restart(self) -> None:
        mirror = self._chance.choice(self._scene.fleet.mirrors)
        begun = _now()
        await mirror.stop()
        await mirror.start()
        self._note(begun, Trouble.RESTART, process=mirror.name)

    async def _stop(self) -> None:
        mirror = self._chance.choice(self._scene.fleet.mirrors)
        begun = _now()
        mirror.freeze()
        await self._linger()
        mirror.thaw()
        self._note(begun, Trouble.STOP, process=mirror.name)

    async def _garble(self) -> None:
        """While nobody has the databases open: SQLite itself does not survive what is done to them otherwise."""
        fleet, begun = self._scene.fleet, _now()
        for mirror in fleet.mirrors:
            await mirror.kill()
        done = await asyncio.to_thread(folder.garble, fleet.cache, self._chance)
        garbled = _now()
        await fleet.start()
        for mirror in fleet.mirrors:
            self._note(begun, Trouble.KILL, process=mirror.name)
        self._scene.recorder.note(Chaos(garbled, garbled, Trouble.GARBLE, detail=done))

    # Files. ----------------------------------------------------------------------------------------------

    async def _flip(self) -> None:
        files = folder.committed(self._scene.fleet.cache)
        unflipped = [file for file in files if folder.digest_of(file) not in self._flipped]
        if not unflipped:
            return
        file = self._chance.choice(unflipped)
        digest = folder.digest_of(file)
        bit = self._chance.randrange(8 * len(self._scene.catalogue.content[digest]))
        begun = _now()
        if await asyncio.to_thread(folder.flip, file, bit):
            self._flipped.add(digest)
            self._note(begun, Trouble.FLIP, digest=digest, bit=bit)

    async def _remove(self) -> None:
        files = folder.committed(self._scene.fleet.cache)
        if not files:
            return
        file = self._chance.choice(files)
        begun = _now()
        with suppress(FileNotFoundError):
            file.unlink()
            self._note(begun, Trouble.REMOVE, digest=folder.digest_of(file))

    async def _fill_up(self) -> None:
        balloon, begun = self._scene.fleet.disk / "balloon", _now()
        await asyncio.to_thread(inflate, balloon)
        await self._linger()
        balloon.unlink()
        self._note(begun, Trouble.FULL)

    # Upstream. -------------------------------------------------------------------------------------------

    async def _outage(self) -> None:
        begun = _now()
        for registry in self._scene.registries:
            await registry.stop()
        await self._linger()
        for registry in self._scene.registries:
            await registry.start()
        self._note(begun, Trouble.OUTAGE)

    async def _silence(self) -> None:
        begun = _now()
        for registry in self._scene.registries:
            registry.hang()
        await self._linger()
        for registry in self._scene.registries:
            registry.resume()
        self._note(begun, Trouble.SILENCE)

    async def _linger(self) -> None:
        """Let the trouble last, for about as long as the pauses between troubles."""
        await asyncio.sleep(self._chance.uniform(0, 1.5 * self._pause))

    def _note(
        self,
        begun: float,
        what: Trouble,
        process: str | None = None,
        digest: str | None = None,
        bit: int | None = None,
    ) -> None:
        self._scene.recorder.note(Chaos(begun, _now(), what, process, digest, bit))


class TagMover:
    """Points tags at other images of their repositories, now and then."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self._scene = scene
        self._chance = chance

    def place_all(self) -> None:
        """Give every tag its first image."""
        for repository in REPOSITORIES:
            for tag in TAGS:
                self._move(repository, tag)

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until told to stop."""
        while not await _waits(stopping, self._chance.expovariate(1 / _MOVE_SECONDS)):
            self._move(self._chance.choice(REPOSITORIES), self._chance.choice(TAGS))

    def _move(self, repository: str, tag: str) -> None:
        image = self._chance.choice(self._scene.catalogue.of_repository(repository))
        for registry in self._scene.registries:
            registry.move_tag(repository, tag, image)
        self._scene.recorder.note(TagMoved(_now(), repository, tag, image.digest))


async def _waits(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait so long; True as soon as it is time to stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    return stopping.is_set()


def _now() -> float:
    return asyncio.get_running_loop().time()
