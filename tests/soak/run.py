"""One soak: content from a seed, mirrors, clients and chaos for a while, then all that happened as a history."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.soak import folder
from tests.soak.catalogue import Catalogue
from tests.soak.chaos import ChaosMonkey, Scene, TagMover
from tests.soak.checker import check
from tests.soak.disk import mounted
from tests.soak.fleet import Fleet
from tests.soak.history import History, Recorder, Terms
from tests.soak.plan import Plan
from tests.soak.traffic import Traffic
from tests.soak.upstream import SpoiledRegistry


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run is made with."""

    catalogue: Catalogue
    terms: Terms
    recorder: Recorder
    scratch: Path


async def soak(plan: Plan, scratch: Path) -> Path:
    """Run it with all its files in the folder `scratch`; return where its history is."""
    catalogue = Catalogue.from_seed(plan.seed, plan.images)
    terms = Terms(
        plan.seed,
        plan.images,
        tag_ttl=1,
        stale_while_revalidate=1,
        stale_if_error=10,
        max_size=catalogue.size // 4,
    )
    path = scratch / "history.jsonl"
    recorder = Recorder(path)
    recorder.note(terms)
    try:
        await _perform(plan, Stage(catalogue, terms, recorder, scratch))
    finally:
        recorder.close()
    return path


async def _perform(plan: Plan, stage: Stage) -> None:
    async with AsyncExitStack() as stack:
        registries = []
        for number in range(plan.processes):
            chance = random.Random(f"{plan.seed}/upstream/{number}")
            registry = SpoiledRegistry(f"mirror-{number}", stage.recorder, chance, plan.stall)
            stage.catalogue.fill(registry)
            registries.append(await stack.enter_async_context(registry))
        endpoints = {registry.name: registry.url for registry in registries}
        fleet = Fleet(endpoints, stage.terms, stage.scratch, stage.recorder)
        stack.enter_context(mounted(fleet.disk, plan.disk))
        try:
            await _play(plan, Scene(stage.catalogue, fleet, registries, stage.recorder, plan.disk > 0))
        finally:
            await fleet.stop()
        for registry in registries:
            registry.spoils = 0.0
        await asyncio.to_thread(_inspect, fleet, stage.recorder)


def _inspect(fleet: Fleet, recorder: Recorder) -> None:
    """Note what is left in the cache folder, what the mirror's own scrub says of it, and what is left after that."""
    for file in folder.remains(fleet.cache, scrubbed=False):
        recorder.note(file)
    recorder.note(fleet.mirrors[0].scrub())
    for file in folder.remains(fleet.cache, scrubbed=True):
        recorder.note(file)


async def _play(plan: Plan, scene: Scene) -> None:
    mover = TagMover(scene, random.Random(f"{plan.seed}/tags"))
    mover.place_all()
    await scene.fleet.start()
    for registry in scene.registries:
        registry.spoils = plan.spoils
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(plan.minutes * 60, stopping.set)
    traffic = Traffic(scene.catalogue, scene.fleet, scene.recorder, plan.seed)
    monkey = ChaosMonkey(scene, random.Random(f"{plan.seed}/chaos"), plan.pause)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run(plan.clients, stopping))
        group.create_task(monkey.run(stopping))
        group.create_task(mover.run(stopping))
    for mirror in scene.fleet.mirrors:
        mirror.note_exit()


def judge(path: Path) -> tuple[History, list[str]]:
    """Return the history in this file, and what in it should not have been, a line each."""
    history = History.read(path)
    return history, check(history, Catalogue.of(history.terms).content)
