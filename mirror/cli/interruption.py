"""Commands that are told to stop: their work ends in order before they do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """The command was told to stop, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What shells make of a signal."""
        return 128 + self.number


async def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; SIGINT and SIGTERM cancel it, and raise Interrupted once it has ended."""
    task = asyncio.create_task(work)
    told: list[int] = []

    def stop(number: int) -> None:
        told.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        raise Interrupted(told[0]) from None
