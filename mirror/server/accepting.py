"""Whoever connects is let in, or stays in the queue until there is a file handle for him.

libuv, left to accept by itself, takes and closes at once whom it has no handle for, and tells nobody.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from aiohttp import web

from mirror.proxy.events.connections import AcceptFailed
from mirror.proxy.events.observer import Observer

BACKLOG = 1024
"""Clients that wait in the kernel; whoever finds it full is heard a second later at the earliest."""

AT_ONCE = 128
"""Clients that are let in before others have their turn."""

PAUSE_SECONDS = 1.0
"""How long clients wait where they could not be taken: others leave meanwhile."""


class Arrivals:
    """Connections on their way from whoever accepted them to a server."""

    def __init__(self) -> None:
        self._arriving: set[asyncio.Task[None]] = set()

    def take(self, connection: socket.socket, server: web.Server) -> None:
        """Have `server` serve on this connection, and close it in the end."""
        connection.setblocking(False)
        arriving = asyncio.create_task(_arrive(connection, server))
        self._arriving.add(arriving)
        arriving.add_done_callback(self._arriving.discard)

    async def settled(self) -> None:
        """Wait until the server knows of all that were taken, which is a few turns of the loop."""
        while self._arriving:
            await asyncio.wait(self._arriving)


async def _arrive(connection: socket.socket, server: web.Server) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(server, connection)
    except OSError:
        # It has gone again.
        connection.close()


class Door:
    """Bound sockets, on which clients come in to `server` between `open` and `close`; these are closed as well."""

    def __init__(self, sockets: Sequence[socket.socket], server: web.Server, observer: Observer) -> None:
        self._sockets = list(sockets)
        self._server = server
        self._observer = observer
        self._arrivals = Arrivals()

    def open(self) -> None:
        """Begin to listen; raises OSError where somebody else does."""
        for one in self._sockets:
            one.setblocking(False)
            one.listen(BACKLOG)
        self._attend()

    async def close(self) -> None:
        """Let nobody in any more; those who are in have arrived at the server."""
        self._rest()
        while self._sockets:
            self._sockets.pop().close()
        await self._arrivals.settled()

    def _attend(self) -> None:
        for one in self._sockets:
            asyncio.get_running_loop().add_reader(one, self._let_in, one)

    def _rest(self) -> None:
        for one in self._sockets:
            asyncio.get_running_loop().remove_reader(one)

    def _let_in(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._wait(error)
                return
            self._arrivals.take(connection, self._server)

    def _wait(self, error: OSError) -> None:
        self._observer.notify(AcceptFailed(error))
        self._rest()
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._attend)
