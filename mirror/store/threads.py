"""Bounded threads for calls that block, so that one slow disk does not stop the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import ParamSpec, TypeVar

from mirror.errors import StoreFailed

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A pool of its own for one sort of work."""

    def __init__(self, name: str, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the blocking call returns; an OSError becomes StoreFailed.

        Cancellation waits for the call to end first: a file closed under a running call would lend its number
        to another file.
        """
        job = asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            while not job.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([job])
            job.exception()
            raise
        except OSError as error:
            raise StoreFailed(f"the disk refused: {error.strerror or type(error).__name__}") from error

    def begin(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have the call made, and go on; it is for another thread to wait for its end."""
        return self._pool.submit(call, *args, **kwargs)

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
        self._pool.shutdown(wait=True)


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
