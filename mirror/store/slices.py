"""Long work in slices: a thread that computes has the interpreter to itself, and a warm hit waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from itertools import islice

from mirror.store.threads import Threads

_STEPS = 200
_PAUSE_SECONDS = 0.001
# A slice takes about a millisecond; the pause lets those go first who came meanwhile.


async def in_slices(work: Generator[None], threads: Threads) -> None:
    """Do all steps of the work in a thread; raises StoreFailed. Who is cancelled waits for a slice at most."""
    try:
        goes_on = True
        while goes_on:
            goes_on = await threads.run(_goes_on, work)
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        work.close()


def _goes_on(work: Generator[None]) -> bool:
    """Do one slice, and tell whether there may be more."""
    return sum(1 for _ in islice(work, _STEPS)) == _STEPS
