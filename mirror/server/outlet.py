"""A connection's socket, to which bytes go past aiohttp: from file to socket without a copy, as it takes them.

What the socket takes at once is written at once. The rest goes out whenever the loop says that it takes more, a window
at a time, so that others have their turn however fast this client is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from mirror.errors import StoreFailed
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.interfaces.bodies import OpenFile
from mirror.server.turns import Turns

WINDOW = 1024 * 1024
"""Bytes read ahead at once."""

STALL_SECONDS = 60.0
"""How long a client may take nothing before its connection is cut."""

Push = Callable[[int], bool]
"""Writes to a socket what it takes now, and tells whether there is nothing more to write for now."""


class Outlet:
    """The way to one client; `note` counts the bytes that have gone it. Whoever opens it closes it."""

    def __init__(self, transport: asyncio.Transport, note: RequestFinished, turns: Turns) -> None:
        self._transport = transport
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._note = note
        self._turns = turns
        self._duplicate = -1
        self._moved_at = 0.0
        self._holds = False

    async def send_file(self, file: OpenFile, start: int, stop: int) -> None:
        """Send these bytes of a file; raises StoreFailed if it does not give them.

        Raises OSError where the client is gone, TimeoutError where it takes nothing for STALL_SECONDS.
        """
        stretch = _Stretch(file, start, stop, self._note, self._turns)
        while stretch.offset < stop:
            await stretch.load()
            await self._drive(stretch.push)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes of our own; raises as `send_file` does."""
        rest = memoryview(data)

        def push(target: int) -> bool:
            nonlocal rest
            sent = os.write(target, rest)
            rest = rest[sent:]
            self._note.sent += sent
            return not rest

        if data:
            await self._drive(push)

    async def send_head(self, head: bytes) -> None:
        """Send what is no part of the body; it leaves with the first bytes of that. Raises as `send_file` does."""
        rest = memoryview(head)

        def push(target: int) -> bool:
            nonlocal rest
            rest = rest[os.write(target, rest) :]
            return not rest

        self.hold()
        await self._drive(push, goes_on=True)

    def hold(self) -> None:
        """Keep what is written until something has been sent from here: no packet for a head alone."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        self._holds = True

    def _let_go(self) -> None:
        if self._holds:
            self._holds = False
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def close(self) -> None:
        """Let go; the connection stays."""
        if self._duplicate >= 0:
            os.close(self._duplicate)
            self._duplicate = -1

    async def _drive(self, push: Push, *, goes_on: bool = False) -> None:
        """Have everything written that `push` has; what is held is kept for now if it `goes_on`."""
        if self._push_at_once(push, goes_on=goes_on):
            return
        target = self._own()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._moved_at = loop.time()
        loop.add_writer(target, self._go_on, push, target, done)
        watch = Watch(loop, done, lambda: self._moved_at)
        try:
            await done
        finally:
            watch.end()
            loop.remove_writer(target)

    def _push_at_once(self, push: Push, *, goes_on: bool) -> bool:
        try:
            return push(self._target())
        except BlockingIOError:
            return False
        finally:
            if not goes_on:
                self._let_go()

    def _go_on(self, push: Push, target: int, done: asyncio.Future[None]) -> None:
        if done.done():
            return
        self._moved_at = done.get_loop().time()
        try:
            if push(target):
                done.set_result(None)
        except BlockingIOError:
            pass
        except Exception as error:  # whoever waits gets it
            done.set_exception(error)

    def _target(self) -> int:
        """Return a descriptor of the connection that is good until the loop has its turn."""
        if self._duplicate >= 0:
            return self._duplicate
        if self._transport.is_closing():
            raise ConnectionResetError
        return self._socket.fileno()

    def _own(self) -> int:
        """Return a descriptor of the connection that is ours to wait on; asyncio keeps its own to itself."""
        if self._duplicate < 0:
            self._duplicate = os.dup(self._target())
        return self._duplicate


class _Stretch:
    """Bytes of a file that are on their way."""

    def __init__(self, file: OpenFile, start: int, stop: int, note: RequestFinished, turns: Turns) -> None:
        self.offset = start
        self._file = file
        self._loaded = start
        self._stop = stop
        self._note = note
        self._turns = turns

    async def load(self) -> None:
        """Bring the next window into memory."""
        end = min(self.offset + WINDOW, self._stop)
        await self._file.load(self.offset, end)
        self._loaded = end

    def push(self, target: int) -> bool:
        """Send what is in memory of the share of this turn (see Push); raises StoreFailed."""
        end = self._reach()
        if end == self.offset:
            return True
        try:
            sent = os.sendfile(target, self._file.fileno(), self.offset, end - self.offset)
        except OSError as error:
            if error.errno == errno.EIO:
                raise StoreFailed("the disk gives an error instead of the bytes") from error
            raise
        if sent == 0:
            raise StoreFailed("the file is shorter than it was")
        self.offset += sent
        self._note.sent += sent
        return self.offset == self._stop

    def _reach(self) -> int:
        """Return where the bytes end that are in memory and may go in this turn."""
        end = min(self.offset + self._turns.share(), self._stop)
        if end > self._loaded and self._file.is_loaded(self._loaded, end):
            self._loaded = end
        return min(end, self._loaded)


class Watch:
    """Ends a wait in which nothing has moved for STALL_SECONDS; `moved_at` tells when something did, in loop time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], moved_at: Callable[[], float]
    ) -> None:
        self._loop = loop
        self._done = done
        self._moved_at = moved_at
        self._timer = loop.call_later(STALL_SECONDS, self._look)

    def _look(self) -> None:
        until = self._moved_at() + STALL_SECONDS
        if until > self._loop.time():
            self._timer = self._loop.call_at(until, self._look)
        elif not self._done.done():
            self._done.set_exception(TimeoutError())

    def end(self) -> None:
        """Watch no more."""
        self._timer.cancel()
