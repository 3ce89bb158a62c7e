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
        """Begin, on the running loop, which starts no children: libuv would want their signal for itself."""
        loop = asyncio.get_running_loop()

        def told(*_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.reap)

        signal.signal(signal.SIGCHLD, told)

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
