"""Work that outlives the request that caused it: owned here, and brought to an end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from mirror.errors import MirrorError, ShuttingDown
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import TaskCrashed

T = TypeVar("T")


class Tasks:
    """The detached tasks of the application; none is ever lost, and none of their errors goes unseen."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start `work` on its own and return its task."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, MirrorError):
            self._observer.notify(TaskCrashed(task.get_name(), error))

    async def finished(self) -> None:
        """Wait until no task is left, those that others start meanwhile included."""
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Cancel all tasks and see them off."""
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)


async def outcome_of(task: asyncio.Task[T]) -> T:
    """Wait for a task that others wait for as well: whoever is cancelled leaves it running.

    Raises what the task raised; ShuttingDown if the task itself was cancelled.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise ShuttingDown("the mirror is shutting down") from None
        raise


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and see it off."""
    task.cancel()
    await asyncio.wait([task])
