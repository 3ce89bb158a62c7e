"""All stories at once: mirrors with many upstreams each, whose places are struck at the same time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from mirror.app import Mirror
from mirror.config import Config
from tests.integration.conftest import RunningMirror
from tests.integration.outages.place import Names, Place
from tests.integration.outages.story import Outcome, Spent, Story
from tests.integration.outages.strikes import STRIKES
from tests.integration.wall_clock import WallClock

LATER = 360.0
"""Seconds between the pull that cached an image and the fault: more than `tag_ttl`, less than that and the grace."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Places with these faults, each for a mirror with these words on freshness; cached before, or not."""

    name: str
    faults: Iterable[str]
    freshness: Mapping[str, str] = field(default_factory=dict)
    is_cached: bool = False
    has_spare: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What came of the first pull and of the second one, right after; what was `spent` on both, and the log's `causes`.

    `layer_is_there` if a layer is served from the cache all the same; `served_by` is the endpoint that gave the
    manifest, of two where the place `has_spare`.
    """

    first: Outcome
    second: Outcome
    spent: Spent
    causes: str
    layer_is_there: bool
    served_by: str
    has_spare: bool


class Theatre:
    """Builds the scenes, and plays them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._clock, self._names = WallClock(), Names()
        # However long the others keep the second pull waiting, a failure is remembered.
        monkeypatch.setattr("mirror.proxy.failures.UNAVAILABLE_SECONDS", 300.0)
        monkeypatch.setattr("aiohttp.connector.DefaultResolver", lambda **_: self._names)
        # A name that does not resolve any more is to be noticed at once.
        monkeypatch.setattr(aiohttp, "TCPConnector", functools.partial(aiohttp.TCPConnector, use_dns_cache=False))

    async def play(self, *scenes: Scene) -> dict[str, dict[str, Told]]:
        """Return what was told, by scene and fault."""
        async with AsyncExitStack() as stack:
            log = stack.enter_context(capture_logs())
            stories = {
                (scene.name, fault): story
                for scene in scenes
                for fault, story in (await self._staged(stack, scene, log)).items()
            }
            cached = {scene.name for scene in scenes if scene.is_cached}
            await asyncio.gather(*(story.cache() for (scene, _), story in stories.items() if scene in cached))
            self._clock.off = LATER
            await asyncio.gather(*(STRIKES[fault].strike(story.place) for (_, fault), story in stories.items()))
            one_at_a_time = asyncio.Lock()
            told = await asyncio.gather(
                *(
                    _played(story, None if STRIKES[fault].is_slow else one_at_a_time)
                    for (_, fault), story in stories.items()
                )
            )
            for story in stories.values():
                story.place.heal()
                assert not story.place.journal.unexpected, story.place.name
            found: dict[str, dict[str, Told]] = {scene.name: {} for scene in scenes}
            for (scene, fault), one in zip(stories, told, strict=True):
                found[scene][fault] = one
            return found

    async def _staged(
        self, stack: AsyncExitStack, scene: Scene, log: list[MutableMapping[str, Any]]
    ) -> dict[str, Story]:
        places: dict[str, Place] = {}
        for number, fault in enumerate(scene.faults):
            name, strike = f"{scene.name}{number}.test", STRIKES[fault]
            folder = self._folder / name
            place = Place(name, self._names, folder, strike.is_named, strike.has_tls, scene.has_spare)
            await stack.enter_async_context(place.open())
            places[fault] = place
        mirror = await stack.enter_async_context(self._mirror(scene, list(places.values())))
        return {fault: Story(mirror, place, log) for fault, place in places.items()}

    @asynccontextmanager
    async def _mirror(self, scene: Scene, places: list[Place]) -> AsyncIterator[RunningMirror]:
        content: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "cache": {"path": str(self._folder / scene.name)},
            "upstreams": {place.name: place.config for place in places},
            "default_upstream": places[0].name,
            "freshness": scene.freshness,
            "drain_timeout": "0s",
        }
        config = Config(**content)
        mirror = Mirror(config, self._clock)
        connector = aiohttp.TCPConnector(limit=0)
        async with mirror.running(), aiohttp.ClientSession(auto_decompress=False, connector=connector) as session:
            yield RunningMirror(mirror, session)


async def _played(story: Story, lock: asyncio.Lock | None) -> Told:
    if lock is None:
        before, first = await story.spent(), await story.pull()
        second = await story.pull()
    else:
        # So that the time that is told is not that of the others.
        async with lock:
            before, first = await story.spent(), await story.pull()
            await story.quiet()
            second = await story.pull()
    await story.quiet()
    spent = await story.spent() - before
    return Told(
        first, second, spent, story.causes, await story.layer_is_there(), story.served_by(), story.place.has_spare
    )
