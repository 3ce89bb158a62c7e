"""Long work in slices: whoever computes has the interpreter to itself, and a warm hit waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from itertools import islice

from mirror.store.threads import Threads

_STEPS = 200
_PAUSE_SECONDS = 0.001
# A slice takes about a millisecond; the pause lets those go first who came meanwhile.


async def in_slices(work: Generator[None], threads: Threads, pause: float = _PAUSE_SECONDS) -> None:
    """Do all steps of the work in a thread; raises StoreFailed. Who is cancelled waits for a slice at most.

    Others have the time between two slices; without a `pause`, those who are there already.
    """
    try:
        goes_on = True
        while goes_on:
            goes_on = await threads.run(_goes_on, work)
            await asyncio.sleep(pause)
    finally:
        work.close()


async def in_turns(work: Generator[None]) -> None:
    """Do all steps of the work on the loop, which turns between two slices."""
    try:
        while _goes_on(work):  # noqa: ASYNC110  # it waits for nothing but its turn
            await asyncio.sleep(0)
    finally:
        work.close()


def _goes_on(work: Generator[None]) -> bool:
    """Do one slice, and tell whether there may be more."""
    return sum(1 for _ in islice(work, _STEPS)) == _STEPS
