"""Reading along with a fill of another process, until that process is done with it or dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mirror.proxy.fills.fill import Fill
from mirror.proxy.interfaces.fills import FillState, FollowedFile, Sighting

POLL_SECONDS = 0.02
"""How often one process looks how far another has come."""

SILENCE_SECONDS = 75.0
"""How long another process may show nothing new: longer than it would put up with an upstream."""


async def follow(fill: Fill, followed: FollowedFile, permit: Callable[[], Awaitable[None]]) -> Sighting:
    """Let the readers of `fill` have what its writer has; returns what was seen when there was no more to come.

    That is the end of the fill, or that nobody writes it any more, or that whoever does has been silent for too long.

    The writer asked for a repository of its own; `permit` has to say yes for this one before anything is read.
    """
    last: Sighting | None = None
    since = _now()
    while True:
        seen = await followed.look()
        if seen.is_agreed and seen.state is not FillState.FAILED:
            if fill.progress is None:
                await permit()
            _share(fill, followed, seen)
        if seen.state in (FillState.COMMITTED, FillState.FAILED) or not seen.is_written:
            return seen
        if seen != last:
            last, since = seen, _now()
        elif _now() - since >= SILENCE_SECONDS:
            return seen
        await asyncio.sleep(POLL_SECONDS)


def _share(fill: Fill, followed: FollowedFile, seen: Sighting) -> None:
    if fill.progress is None:
        fill.begin(followed, seen.total)
    assert fill.progress is not None  # noqa: S101  # it has begun
    fill.progress.reach(seen.prefix)
    if seen.state is not FillState.WRITING:
        fill.progress.enter(seen.state)


def _now() -> float:
    return asyncio.get_running_loop().time()
