"""Reading along with a fill of another process, until that process is done with it or dies."""

from __future__ import annotations

import asyncio

from mirror.proxy.fill import Fill
from mirror.proxy.interfaces import FollowedFile, Sighting
from mirror.proxy.progress import FillState

POLL_SECONDS = 0.02
"""How often one process looks how far another has come."""


async def follow(fill: Fill, followed: FollowedFile) -> Sighting:
    """Let the readers of `fill` have what its writer has; returns what was seen when there was no more to come."""
    while True:
        seen = await followed.look()
        if seen.is_agreed and seen.state is not FillState.FAILED:
            _share(fill, followed, seen)
        if seen.state in (FillState.COMMITTED, FillState.FAILED) or not seen.is_written:
            return seen
        await asyncio.sleep(POLL_SECONDS)


def _share(fill: Fill, followed: FollowedFile, seen: Sighting) -> None:
    if fill.progress is None:
        fill.begin(followed, seen.total)
    assert fill.progress is not None  # noqa: S101  # it has begun
    fill.progress.reach(seen.prefix)
    if seen.state is not FillState.WRITING:
        fill.progress.enter(seen.state)
