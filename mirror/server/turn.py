"""A turn of the loop: it looks what has come, has all of that read and answered, and only then looks again.

So what is read in a turn had begun to come before anything was done in it. What was found to be so in a turn is
therefore an answer to every request that is read in it: it was so after the request began to come, and before it is
answered. Whoever had something changed, and has been told so, asks in a later turn.

Only what has just been read has part in a turn: a call that it asks for is made before anything is read that the next
look finds, by asyncio, which makes calls behind its look, and by uvloop, which makes them before it. What a call asks
for, uvloop does behind its next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Turn:
    """The turn that goes on: `ended` is called behind it, if anybody took part in it."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._is_on = False

    def join(self) -> None:
        """Take part in it."""
        if not self._is_on:
            self._is_on = True
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._is_on = False
        self._ended()
