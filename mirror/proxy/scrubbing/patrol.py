"""Scrubbing in the background: one process of a cache folder at a time, every so often, on from where it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.scrubbing import ScrubFinished
from mirror.proxy.events.troubles import StoreTroubled, TaskCrashed
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.scrubbing.scrub import Scrub, StoredFile, Thoroughness

LOOK_SECONDS = 60.0
"""How often it is asked whether a scrub is due, and how often one notes how far it is."""


class Diary(Protocol):
    """What is remembered of scrubs from one process to the next. Raises StoreFailed throughout."""

    async def take(self) -> bool:
        """Be the one that scrubs, until `give_back`; False if another process is."""

    async def give_back(self) -> None:
        """Be it no more."""

    async def read(self) -> tuple[float, Digest | None]:
        """Return when the last scrub ended (epoch seconds), and behind which file one was interrupted."""

    async def write(self, finished_at: float, after: Digest | None) -> None:
        """Note both."""


class Patrol:
    """Runs `scrub` `every` so often, reading at most `bandwidth` bytes a second."""

    def __init__(
        self, scrub: Scrub, diary: Diary, every: timedelta, bandwidth: int, clock: Clock, observer: Observer
    ) -> None:
        self._scrub = scrub
        self._diary = diary
        self._every = every.total_seconds()
        self._how = Thoroughness(bandwidth=bandwidth)
        self._clock = clock
        self._observer = observer
        self._unwritten: tuple[float, Digest | None] | None = None

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                await self._take_turn()
            except StoreFailed as error:
                self._observer.notify(StoreTroubled("scrub", error))
            except Exception as error:  # a bug here must not be the end of all scrubs
                self._observer.notify(TaskCrashed("scrub", error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _take_turn(self) -> None:
        if not await self._diary.take():
            return
        try:
            finished_at, after = self._unwritten or await self._diary.read()
            if after is not None or not 0 <= self._clock() - finished_at < self._every:
                await self._go_round(finished_at, after)
            else:
                self._observer.notify(ScrubFinished(finished_at))
        finally:
            await self._diary.give_back()

    async def _go_round(self, finished_at: float, after: Digest | None) -> None:
        noted = asyncio.get_running_loop().time()

        async def note(file: StoredFile) -> None:
            nonlocal noted
            if asyncio.get_running_loop().time() - noted >= LOOK_SECONDS:
                noted = asyncio.get_running_loop().time()
                await self._write(finished_at, file.digest)

        await self._scrub.run(self._how, after, note)
        now = self._clock()
        await self._write(now, None)
        self._observer.notify(ScrubFinished(now))

    async def _write(self, finished_at: float, after: Digest | None) -> None:
        """Note both; a full disk is no reason to read everything again."""
        self._unwritten = finished_at, after
        try:
            await self._diary.write(finished_at, after)
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("note of a scrub", error))
        else:
            self._unwritten = None
