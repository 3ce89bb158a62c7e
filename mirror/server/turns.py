"""How many bytes a client is sent in a turn of the loop: many while few are sent to, few while many are.

So the loop comes round soon for those who want something small, and who is alone pays little for turns. Clients that
take nothing do not count.
"""

from __future__ import annotations

from mirror.server.turn import Turn

LEAST = 512 * 1024
"""Bytes for one client: what still costs more to copy than a turn does."""

TOGETHER = 16 * 1024 * 1024
"""Bytes for all of them, unless they are so many that each has the least: some milliseconds of copying."""


class Turns:
    """Those who are sent to in this turn of the loop, and in the one before."""

    def __init__(self) -> None:
        self._turn = Turn(self._come_round)
        self._now = 0
        self._before = 0

    def share(self) -> int:
        """Return how many bytes the client whose turn it is may be sent."""
        self._turn.join()
        self._now += 1
        return max(LEAST, TOGETHER // max(self._before, self._now))

    def _come_round(self) -> None:
        self._before, self._now = self._now, 0
