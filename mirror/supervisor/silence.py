"""For how long a worker has answered nothing, as far as its supervisor was awake to see it."""

from __future__ import annotations

from collections.abc import Callable

_LONGEST_LOOK = 2.0
# Who looks again only after longer was held up as well, by a machine that stood still: that is no worker's fault.


class Silence:
    """Of one worker. It begins with its first word: how long a start takes says nothing.

    `now` is in seconds of a clock that never jumps.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._looked_at = now()
        self._has_spoken = False
        self._is_asked = False
        self.seconds = 0.0
        """How long it has been silent."""

    def heard(self) -> None:
        """It said something."""
        self._has_spoken = True
        self._is_asked = False
        self.seconds = 0.0

    def look(self) -> bool:
        """Count the time since the last look, if it was asked then; tell whether it is to be asked now."""
        now = self._now()
        passed, self._looked_at = min(now - self._looked_at, _LONGEST_LOOK), now
        if self._is_asked:
            self.seconds += passed if self._has_spoken else 0.0
            return False
        self._is_asked = True
        return True

    def forgive(self) -> None:
        """Begin anew."""
        self.seconds = 0.0
