"""How long to wait before a worker that died is replaced: not at all, unless they go on dying."""

from __future__ import annotations

from collections.abc import Callable

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
WELL_SECONDS = 60.0
"""After so long without a death, the next one is a first one."""


class Pauses:
    """The pauses of one seat; `now` is in seconds of a clock that never jumps."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._deaths = 0
        self._last = now()

    def next(self) -> float:
        """Note a death, and return for how many seconds to wait."""
        now = self._now()
        self._deaths = 1 if now - self._last > WELL_SECONDS else self._deaths + 1
        self._last = now
        return 0.0 if self._deaths == 1 else min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** (self._deaths - 2))
