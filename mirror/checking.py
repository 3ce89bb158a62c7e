"""Trying upstreams without serving anybody; a part of the composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

from mirror import __version__, registries
from mirror.config import Config
from mirror.proxy.events import Event
from mirror.proxy.tasks import Tasks
from mirror.store.memory import BoundedMemory
from mirror.upstream.egress import Egress
from mirror.upstream.findings import Findings, Sample, WitnessedResponse
from mirror.upstream.tokens import TokenServices

AT_A_TIME = 8
"""Endpoints that are tried at once."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint of an upstream, and what it is asked for; None to ask only whether a registry is there."""

    upstream: str
    endpoint: URL
    sample: Sample | None


class _Nobody:
    """Takes no interest."""

    def notify(self, event: Event) -> None:
        """Let it pass."""


async def check(config: Config, targets: Sequence[Target], seconds: float) -> list[Findings]:
    """Return what was found at each target, in their order; each has so many seconds."""
    egress, memory, nobody = Egress(f"mirror/{__version__}", WitnessedResponse), BoundedMemory(), _Nobody()
    tasks = Tasks(nobody)
    outside = registries.Outside(egress, TokenServices(egress, memory, tasks, nobody), tasks, nobody)
    turns = asyncio.Semaphore(AT_A_TIME)

    async def tried(target: Target) -> Findings:
        async with turns:
            upstream = config.upstreams[target.upstream]
            probe = registries.probe(target.upstream, upstream, target.endpoint, target.sample, outside)
            return await probe.run(seconds)

    await egress.start()
    try:
        return list(await asyncio.gather(*map(tried, targets)))
    finally:
        await tasks.cancel()
        await egress.close()
        await memory.close()
