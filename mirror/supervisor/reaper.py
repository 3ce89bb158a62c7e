"""Children that have ended: one's own, and in a container (as process 1) those that nobody else waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

Ended = Callable[[int], None]


class Reaper:
    """Tells of each process that is watched how it ended; no other may be waited for meanwhile."""

    def __init__(self) -> None:
        self._watched: dict[int, Ended] = {}

    def start(self) -> None:
        """Begin, on the running loop, which keeps this signal to itself: for children that it does not have here."""
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGCHLD, lambda *_: loop.call_soon_threadsafe(self.reap))

    def watch(self, pid: int, ended: Ended) -> None:
        """Have `ended` called with the exit code of a child; that of a signal is negative."""
        self._watched[pid] = ended

    def reap(self) -> None:
        """Wait for all that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._watched.pop(pid, None)
            if ended is not None:
                ended(os.waitstatus_to_exitcode(status))
