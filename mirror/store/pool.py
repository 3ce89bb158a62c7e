"""Threads that take calls from a queue: all of them are there before the first call, which waits for none to start."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

Call = Callable[[], object]
"""What a thread does; it raises nothing, and what it returns is nobody's."""


class Pool:
    """So many threads for one sort of work; they end when it is closed, or when nobody has it any more."""

    def __init__(self, name: str, size: int) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=_work, args=(self._calls,), name=f"{name}_{number}", daemon=True)
            for number in range(size)
        ]
        for thread in self._threads:
            thread.start()
        self._end = weakref.finalize(self, _dismiss, self._calls, size)

    def take(self, call: Call) -> None:
        """Have the call made by the next thread that is free; raises RuntimeError once the pool is closed."""
        if not self._end.alive:
            raise RuntimeError("its threads have ended")
        self._calls.put(call)

    def close(self) -> None:
        """Have what was taken done, and end the threads."""
        self._end()
        for thread in self._threads:
            thread.join()


def _work(calls: SimpleQueue[Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        # Not kept until the next one comes, nor what it holds.
        del call


def _dismiss(calls: SimpleQueue[Call | None], size: int) -> None:
    for _ in range(size):
        calls.put(None)
