"""A stop as the application makes it: tasks may finish for a while, and what is left is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from mirror.proxy.tasks import Tasks


async def drain(tasks: Tasks, seconds: float) -> None:
    """Let the tasks finish for so long, then cancel what is left."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await tasks.finished()
    await tasks.cancel()
