"""Bounded threads for calls that block, so that one slow disk does not stop the loop."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Generic, ParamSpec, TypeVar

from mirror.errors import StoreFailed
from mirror.store.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A pool of its own for one sort of work."""

    def __init__(self, name: str, workers: int) -> None:
        self._pool = Pool(name, workers)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the blocking call returns; an OSError becomes StoreFailed.

        Cancellation waits for the call to end first: a file closed under a running call would lend its number
        to another file.
        """
        job = _Job(functools.partial(call, *args, **kwargs))
        self._pool.take(job.do)
        try:
            await job.ended()
        except asyncio.CancelledError:
            while not job.is_done:
                with suppress(asyncio.CancelledError):
                    await job.ended()
            raise
        try:
            return job.result()
        except OSError as error:
            raise StoreFailed(f"the disk refused: {error.strerror or type(error).__name__}") from error

    def begin(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have the call made, and go on; it is for another thread to wait for its end."""
        future: Future[T] = Future()
        self._pool.take(functools.partial(_fulfil, future, functools.partial(call, *args, **kwargs)))
        return future

    async def obtain(self, call: Callable[[], T], give_back: Callable[[T], None]) -> T:
        """Return what the blocking call obtains; whoever is cancelled meanwhile leaves nothing obtained."""
        obtained: list[T] = []
        try:
            await self.run(lambda: obtained.append(call()))
        except asyncio.CancelledError:
            for one in obtained:
                give_back(one)
            raise
        return obtained[0]

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        self._pool.close()


class _Job(Generic[T]):
    """A call that a thread makes, and the end of it, for which a task of this loop waits.

    asyncio's own way takes twice the time: two futures, one for threads and one for tasks, and a third around them.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._waiter = self._loop.create_future()
        self._results: list[T] = []
        self._error: BaseException | None = None
        self.is_done = False

    def do(self) -> None:
        """Make the call; in a thread."""
        try:
            self._results.append(self._call())
        except BaseException as error:  # whoever waits gets it
            self._error = error
        # A loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self.is_done = True
        if not self._waiter.done():
            self._waiter.set_result(None)

    async def ended(self) -> None:
        """Wait until the call was made; whoever is cancelled can wait again."""
        if self._waiter.cancelled():
            self._waiter = self._loop.create_future()
        await self._waiter

    def result(self) -> T:
        """Return what the call returned, or raise what it raised, once."""
        error, self._error = self._error, None
        if error is None:
            return self._results[0]
        try:
            raise error
        finally:
            # Its traceback leads here: no circle is left for the collector.
            del error


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # whoever waits gets it
        future.set_exception(error)


class Lanes:
    """Threads of which each does what is begun in it in that order."""

    def __init__(self, name: str, lanes: int) -> None:
        self._lanes = [Threads(f"{name}-{number}", 1) for number in range(lanes)]
        self._turns = cycle(self._lanes)

    def next(self) -> Threads:
        """Return one of them, each in its turn."""
        return next(self._turns)

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        for lane in self._lanes:
            lane.close()


@dataclass(frozen=True, slots=True)
class FileThreads:
    """The threads of the store's files: fills have their own, so that slow writes do not delay a hit.

    Those of `hashing` wait for nothing but a processor, and whoever reserves room, one at a time, for no file's bytes.
    """

    reading: Threads = field(default_factory=lambda: Threads("reading", 8))
    writing: Threads = field(default_factory=lambda: Threads("writing", 8))
    hashing: Lanes = field(default_factory=lambda: Lanes("hashing", os.cpu_count() or 1))
    reserving: Threads = field(default_factory=lambda: Threads("reserving", 1))
    scrubbing: Threads = field(default_factory=lambda: Threads("scrubbing", 1))

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        self.reading.close()
        self.writing.close()
        self.hashing.close()
        self.reserving.close()
        self.scrubbing.close()
