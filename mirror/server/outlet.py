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
from mirror.proxy.interfaces.bodies import OpenFile
from mirror.server.turns import LEAST, Turns

WINDOW = 1024 * 1024
"""Bytes read ahead at once."""

STALL_SECONDS = 60.0
"""How long a client may take nothing before its connection is cut."""

Push = Callable[[int], bool]
"""Writes to a socket what it takes now, and tells whether there is nothing more to write for now."""


class Outlet:
    """The way to one client. Whoever opens it closes it."""

    def __init__(self, transport: asyncio.Transport, turns: Turns) -> None:
        self.sent = 0
        """Bytes that have gone it, whole or in part: of files and of our own."""
        self._transport = transport
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._turns = turns
        self._duplicate = -1
        self._moved_at = 0.0
        self._holds = False

    async def send_file(self, file: OpenFile, start: int, stop: int) -> None:
        """Send these bytes of a file; raises as `finish` does."""
        stretch = Stretch(file, start, stop, self._turns)
        try:
            self.begin(stretch)
            await self.finish(stretch)
        finally:
            self.sent += stretch.offset - start

    def begin(self, stretch: Stretch) -> None:
        """Send what goes at once; raises StoreFailed and OSError as `finish` does."""
        self._push_at_once(stretch.push)

    async def finish(self, stretch: Stretch) -> None:
        """Send the rest; raises StoreFailed if the file does not give its bytes.

        Raises OSError where the client is gone, TimeoutError where it takes nothing for STALL_SECONDS.
        """
        while not stretch.is_sent:
            await stretch.load()
            await self._drive(stretch.push)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes of our own; raises as `finish` does."""
        rest = memoryview(data)

        def push(target: int) -> bool:
            nonlocal rest
            sent = os.write(target, rest)
            rest = rest[sent:]
            self.sent += sent
            return not rest

        if data:
            await self._drive(push)

    def hold(self) -> None:
        """Keep what is written until something has been sent from here: no packet for a head alone."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        self._holds = True

    def _let_go(self) -> None:
        if self._holds:
            self._holds = False
            if self._socket.fileno() >= 0:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    def close(self) -> None:
        """Let go; the connection stays."""
        if self._duplicate >= 0:
            os.close(self._duplicate)
            self._duplicate = -1

    async def _drive(self, push: Push) -> None:
        """Have everything written that `push` has."""
        if self._push_at_once(push):
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

    def _push_at_once(self, push: Push) -> bool:
        try:
            return push(self._target())
        except BlockingIOError:
            return False
        finally:
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


class Stretch:
    """Bytes of a file that are on their way, behind a head that is no part of the body."""

    def __init__(self, file: OpenFile, start: int, stop: int, turns: Turns, head: bytes = b"") -> None:
        self.offset = start
        """Where the bytes end that have been sent."""
        self._head = head
        self._file = file
        self._loaded = start
        self._stop = stop
        self._turns = turns

    @property
    def is_sent(self) -> bool:
        """Tell whether nothing is left."""
        return self.offset == self._stop and not self._head

    async def load(self) -> None:
        """Bring the next window into memory."""
        end = min(self.offset + WINDOW, self._stop)
        await self._file.load(self.offset, end)
        self._loaded = max(self._loaded, end)

    def push(self, target: int) -> bool:
        """Send what is in memory of the share of this turn (see Push); raises StoreFailed."""
        end = self._reach()
        if self._head:
            write = os.write if end == self.offset else write_more
            self._head = self._head[write(target, self._head) :]
            if self._head:
                return False
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
        return self.offset == self._stop

    def _reach(self) -> int:
        """Return where the bytes end that are in memory and may go in this turn; a rest that is small goes along."""
        end = self.offset + self._turns.share()
        if self._stop - end <= LEAST:
            end = self._stop
        if end > self._loaded and self._file.is_loaded(self._loaded, end):
            self._loaded = end
        return min(end, self._loaded)


def write_more(target: int, data: bytes) -> int:
    """Write to a connection what does not leave before more is written; return how many bytes were taken."""
    # Not through the loop's own: uvloop duplicates the descriptor for each call.
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, target)
    try:
        return borrowed.send(data, socket.MSG_MORE)
    finally:
        borrowed.detach()


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
