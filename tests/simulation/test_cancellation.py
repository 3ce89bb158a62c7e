"""A client, or a fill, is cancelled at each of its awaits in turn: the others have what they were promised."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from mirror.oci.digest import Digest
from mirror.proxy.tasks import Tasks
from tests.simulation.chance import Chance
from tests.simulation.scale import SMALL, scaled_down
from tests.simulation.world import UNLIMITED, World
from tests.unit.proxy.doubles import HUB
from tests.unit.virtual_time import run

T = TypeVar("T")


class CancelledAt(Coroutine[Any, Any, T]):
    """A coroutine that is cancelled at its await number `at`, if it gets there."""

    def __init__(self, inner: Coroutine[Any, Any, T], at: int) -> None:
        self._inner = inner
        self._at = at
        self._awaits = 0

    @property
    def was_cancelled(self) -> bool:
        return self._awaits >= self._at

    def send(self, value: Any) -> Any:
        return self._counted(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._counted(self._inner.throw(*error))

    def _counted(self, awaited: Any) -> Any:
        self._awaits += 1
        if self._awaits == self._at:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        return awaited

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()


class Sweeping(Tasks):
    """Tasks of which the first fill is cancelled at one of its awaits."""

    at = 0
    victim: CancelledAt[Any] | None = None

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        if name.startswith("fill") and self.at and self.victim is None:
            self.victim = work = CancelledAt(work, self.at)
        return super().spawn(work, name)


@dataclass
class Scene:
    """What is going on while somebody is cancelled."""

    size: int = SMALL + 3000
    faults: tuple[str, ...] = ()
    max_size: int = UNLIMITED
    is_followed: bool = False
    """Whether the victim reads along with another process."""


SCENES = {
    "all is well": Scene(),
    "a small blob": Scene(size=SMALL),
    "upstream cuts": Scene(faults=("cut",)),
    "upstream sends other bytes": Scene(size=SMALL, faults=("other bytes",)),
    "it cannot be kept": Scene(max_size=0),
    "another process writes": Scene(is_followed=True),
}


class Sweep:
    """One run of a scene, in which the victim is cancelled at its await number `at`."""

    def __init__(self, scene: Scene, at: int) -> None:
        self._at = at
        self._scene = scene
        chance = Chance("cancellation")
        chance.rates = dict.fromkeys(scene.faults, 0.1)
        self.world = World(chance, scene.max_size)
        self._digest: Digest = self.world.origin.put_blob(chance.randbytes(scene.size))

    async def of_a_client(self) -> bool:
        """Cancel the first client; the two others are to end as if nothing had been. Return whether it came to that."""
        site = self.world.start()
        if self._scene.is_followed:
            await self._writer_elsewhere()
        victim = CancelledAt(self.world.watched.pull(site, HUB, self._digest), self._at)
        first = asyncio.create_task(victim)
        others = [asyncio.create_task(self.world.watched.pull(site, HUB, self._digest)) for _ in range(2)]
        ended = await asyncio.gather(*others)
        await asyncio.wait([first])
        if not self._scene.faults and ended != ["complete"] * 2:
            self.world.violations.append(f"the others end with {ended}")
        await self.world.heal()
        return victim.was_cancelled

    async def of_a_fill(self) -> bool:
        """Cancel the fill; its readers are cut or served, who comes next is served. Return whether it came to that."""
        site = self.world.start(Sweeping)
        assert isinstance(site.tasks, Sweeping)
        site.tasks.at = self._at
        if self._scene.is_followed:
            await self._writer_elsewhere()
        await asyncio.gather(*(self.world.watched.pull(site, HUB, self._digest) for _ in range(3)))
        await self.world.heal()
        assert site.tasks.victim is not None
        return site.tasks.victim.was_cancelled

    async def _writer_elsewhere(self) -> None:
        other = self.world.start()
        other.filler.join_or_start(HUB, self._digest)
        while not self.world.disk.locked:  # noqa: ASYNC110  # in virtual time
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
@pytest.mark.parametrize("whom", [Sweep.of_a_client, Sweep.of_a_fill], ids=["a client", "a fill"])
def test_it_may_be_cancelled_at_any_await(whom: Any, scene: Scene) -> None:
    broken: dict[int, list[str]] = {}
    with scaled_down():
        for at in itertools.count(1):
            sweep = Sweep(scene, at)
            was_cancelled = run(whom(sweep), shuffled=random.Random(at))
            if sweep.world.violations:
                broken[at] = sweep.world.violations
            if not was_cancelled:
                break
    assert at > 5, "nothing was swept"
    assert not broken
