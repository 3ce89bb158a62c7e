"""Readers that take nothing of what has been written for them: they are cut."""

from __future__ import annotations

import asyncio

from mirror.server.outlet import STALL_SECONDS


class Stalls:
    """Watches whether one client takes what its transport has in its buffer."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, transport: asyncio.Transport) -> None:
        """Cut the connection if less than a byte leaves in STALL_SECONDS, until `end`."""
        left = transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(STALL_SECONDS, self._look, transport, left)

    def end(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, transport: asyncio.Transport, left: int) -> None:
        if transport.get_write_buffer_size() < left:
            self.watch(transport)
        else:
            transport.abort()
