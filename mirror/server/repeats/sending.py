"""An answer that is on its way again, past aiohttp: what its client sends meanwhile waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Sending:
    """Has an answer sent, then calls `ended` with whether it was, unless the connection is at its end."""

    def __init__(
        self, transport: asyncio.Transport, send: Callable[[], Awaitable[bool]], ended: Callable[[bool], None]
    ) -> None:
        self.held = b""
        """What the client has sent since."""
        self.is_last = False
        """Whether the connection is to be closed behind it."""
        self._transport = transport
        self._runs = self._is_given_up = False
        self._task = asyncio.create_task(self._run(send, ended))

    def hold(self, data: bytes) -> None:
        """Keep what the client has sent, and read no more of it for now."""
        self.held += data
        self._transport.pause_reading()

    def cancel(self) -> None:
        """Give it up."""
        if self._runs:
            self._task.cancel()
        # A task that is cancelled before it runs clears up nothing.
        self._is_given_up = True

    async def _run(self, send: Callable[[], Awaitable[bool]], ended: Callable[[bool], None]) -> None:
        self._runs = True
        if self._is_given_up:
            self._task.cancel()
        was_sent = await send()
        if self._transport.is_closing():
            return
        if self.held:
            self._transport.resume_reading()
        ended(was_sent)
