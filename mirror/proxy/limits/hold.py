"""How long something is not asked after a 429: what costs less than what was refused goes on meanwhile. Pure.

`now` is in epoch seconds. Holds refuse the future: after the clock was set back nothing is held.
"""

from __future__ import annotations

from enum import IntEnum

HOLD_SECONDS = 60.0
"""How long nothing is asked after a 429 that does not say for how long."""

LONGEST_HOLD = 3600.0
"""How long nothing is asked at most, whatever a 429 says."""


class Cost(IntEnum):
    """What a question costs where pulls are limited; the dearer, the sooner it is refused."""

    NOTHING = 0
    """A blob, a list, the registry itself: a limit of pulls has nothing to do with them."""
    LOOK = 1
    """The HEAD of a manifest: it is not counted, and may be refused all the same when nothing is left."""
    PULL = 2
    """The GET of a manifest, which is what is counted."""


class Holds:
    """What is held back of one account's questions, and for how long."""

    def __init__(self) -> None:
        self._holds: dict[Cost, tuple[float, float]] = {}

    def hold(self, cost: Cost, retry_after: float | None, now: float) -> None:
        """Hold back what costs as much, or more, for what a 429 said, bounded; a longer hold goes on."""
        seconds = hold_seconds(retry_after)
        if seconds >= self.left(cost, now):
            self._holds[cost] = (now, seconds)

    def left(self, cost: Cost, now: float, more: float = 0.0) -> float:
        """Return for how many seconds what costs so much is held back, if each hold were `more` seconds longer."""
        holds = ((at, seconds + more) for since, (at, seconds) in self._holds.items() if since <= cost)
        return max((at + seconds - now for at, seconds in holds if 0 <= now - at < seconds), default=0.0)


def hold_seconds(retry_after: float | None) -> float:
    """Return for how long nothing is asked after a 429 that says this, None where it says nothing."""
    return HOLD_SECONDS if retry_after is None else min(max(retry_after, 1.0), LONGEST_HOLD)
