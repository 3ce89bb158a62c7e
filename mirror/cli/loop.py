"""The event loop of every command: libuv's, and no other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

LOOK_UPS = 8
"""Names that are resolved at the same time, so that one whose servers hang keeps few others waiting."""


def on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, and return what it returns; SIGINT cancels it, unless it has other wishes."""
    # Only half of libuv's threads may wait for names.
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(2 * LOOK_UPS))
    loop = uvloop.new_event_loop()
    try:
        task = loop.create_task(_with_all_it_left(work))
        loop.add_signal_handler(signal.SIGINT, task.cancel)
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.close()


async def _with_all_it_left(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, and end what it left: here, since the loop cannot begin to run again without file handles."""
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    try:
        return await work
    finally:
        left = [task for task in asyncio.all_tasks() if task is not own]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()
