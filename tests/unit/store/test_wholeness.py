"""Whoever waits until all files are known can be told to stop at any moment, also at that very one."""

from __future__ import annotations

import asyncio

import pytest

from mirror.errors import StoreFailed
from mirror.store.wholeness import Wholeness


@pytest.mark.parametrize("turns", range(5))
async def test_who_is_cancelled_as_all_become_known_is_cancelled(turns: int) -> None:
    wholeness = Wholeness()
    wholeness.begin()
    waiting = asyncio.create_task(wholeness.wait(3600))
    for _ in range(5):
        await asyncio.sleep(0)
    wholeness.end()
    for _ in range(turns):
        await asyncio.sleep(0)
    was_done = waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() or was_done


async def test_who_has_no_patience_is_told_so() -> None:
    wholeness = Wholeness()
    wholeness.begin()
    with pytest.raises(StoreFailed):
        await wholeness.wait(0)
    assert not wholeness
