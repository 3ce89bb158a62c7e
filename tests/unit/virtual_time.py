"""An event loop whose clock jumps to the next timer, so that deadlines pass at once and nothing waits for ever."""

from __future__ import annotations

import asyncio
import functools
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Stuck(BaseException):
    """Everybody waits and no timer is set: the code under test would hang."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a timer, moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; if nothing is, the time has come for the next timer."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck("every task waits for another")
        self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The event loop of tests that let time pass; with `shuffled`, tasks that are ready take turns in any order."""

    _ready: deque[asyncio.Handle]

    def __init__(self, shuffled: random.Random | None = None) -> None:
        self._jumping = _JumpingSelector()
        self._shuffled = shuffled
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self._jumping.now

    def _run_once(self) -> None:
        if self._shuffled is not None and len(self._ready) > 1:
            # Callbacks stay before whom they wake, and in order: that much asyncio promises.
            steps = [handle for handle in self._ready if _is_step(handle)]
            others = [handle for handle in self._ready if not _is_step(handle)]
            self._shuffled.shuffle(steps)
            self._ready.clear()
            self._ready.extend(others + steps)
        super()._run_once()  # type: ignore[misc]  # asyncio's own, known to every loop of the library


def _is_step(handle: asyncio.Handle) -> bool:
    return isinstance(getattr(getattr(handle, "_callback", None), "__self__", None), asyncio.Task)


def run(work: Coroutine[Any, Any, T], shuffled: random.Random | None = None) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(shuffled)) as runner:
        return runner.run(work)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an async test one that runs in virtual time."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapper


async def steps(count: int) -> None:
    """Let every other task take `count` turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def settle() -> None:
    """Let every other task go on until it waits for something: virtual time passes only when all of them do."""
    await asyncio.sleep(1e-6)
