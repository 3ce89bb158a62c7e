"""Doing the same with many things, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def in_turn(things: Iterable[T], at_once: int, work: Callable[[T], Awaitable[object]]) -> None:
    """Do `work` with each, at most `at_once` at a time, in order; raises the first error, which ends all of it."""
    waiting = iter(things)

    async def go_on() -> None:
        for thing in waiting:
            await work(thing)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(go_on())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
