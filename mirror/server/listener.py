"""A listening socket with aiohttp's server behind it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from mirror.errors import AddressUnavailable, ConfigError
from mirror.proxy.events.gathering import Gathering
from mirror.proxy.events.observer import Observer
from mirror.server.accepting import Door
from mirror.server.admission import Admission
from mirror.server.connection import Connection
from mirror.server.open_files import connection_limit
from mirror.server.repeats.answering import AnsweringConnection
from mirror.server.repeats.repeats import Repeats
from mirror.server.requests import BareHandler, Requests
from mirror.server.sockets import all_bound, places

_KEEPALIVE_SECONDS = 75.0
CUT_SECONDS = 0.1
"""How long a handler has to come to its end, once before and once after it is cancelled."""

FAREWELL_SECONDS = 3.0
"""How long clients may still ask on connections that they have, when somebody else takes the new ones."""

_LINGER_SECONDS = 1.0
# For the rest of a body nobody wants; closing at once could take the answer away with it.
_MAX_LINE = 16 * 1024
_MAX_HEADER = 32 * 1024
_MAY_COME = {errno.EADDRINUSE, errno.EADDRNOTAVAIL}
# Another process ends, a network comes up: at boot, for one, moments later.


class BareServer(web.Server):
    """aiohttp's low-level server: one handler, no router, connections of our own."""

    def __init__(self, handler: BareHandler, admission: Admission, repeats: Repeats, **options: Any) -> None:
        super().__init__(handler, **options)
        self._admission = admission
        self._repeats = repeats
        self._left = asyncio.Event()

    async def say_farewell(self) -> None:
        """Answer each connection's next request as its last, for so long; return early once all have gone."""
        for connection in self.connections:
            cast(Connection, connection).end_soon()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                while self.connections:
                    self._left.clear()
                    await self._left.wait()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection that has ended."""
        super().connection_lost(handler, exc)
        self._left.set()

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return AnsweringConnection(self, self._admission, self._repeats, loop=self._loop, **self._kwargs)


def bare_runner(handler: BareHandler, observer: Gathering, requests: Requests) -> web.ServerRunner:
    """Return a runner that gives every request to `handler`, whose work ends when its client leaves.

    `requests` counts those that are being answered.

    There are as many connections at once as the limit on open files allows; `observer` is told of all that goes wrong
    before there is a request, and of requests that are answered without it.
    """
    server = BareServer(
        requests.counted(handler),
        Admission(connection_limit(), observer),
        Repeats(observer, requests),
        handler_cancellation=True,
        access_log=None,
        logger=logging.getLogger("mirror.server"),
        keepalive_timeout=_KEEPALIVE_SECONDS,
        lingering_time=_LINGER_SECONDS,
        max_line_size=_MAX_LINE,
        max_field_size=_MAX_HEADER,
    )
    return web.ServerRunner(server, shutdown_timeout=CUT_SECONDS)


def refusal(key: str, address: str, error: OSError) -> AddressUnavailable | ConfigError:
    """Return what it means that an address cannot be listened on; `key` is the path of its field."""
    why = "no such name" if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0).lower()
    reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {why}"
    may_come = isinstance(error, socket.gaierror) or error.errno in _MAY_COME
    return (AddressUnavailable if may_come else ConfigError)(key, f"{address} {reason}")


class Listener:
    """An address that is listened on; `key` is the path of its field in the configuration.

    If `sockets` are given, they are bound to it already. `observer` is told where a client cannot be taken.
    """

    def __init__(
        self,
        key: str,
        host: str,
        port: int,
        runner: web.BaseRunner,
        observer: Observer,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self._key = key
        self._host = host
        self._port = port
        self._runner = runner
        self._observer = observer
        self._sockets = sockets
        self._door: Door | None = None

    async def start(self) -> None:
        """Begin to listen; raises AddressUnavailable where that may go well later, ConfigError where it will not."""
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101  # it has been set up
        try:
            sockets = self._sockets or all_bound(await places(self._host, self._port))
            self._door = Door(sockets, self._runner.server, self._observer)
            self._door.open()
        except OSError as error:
            raise refusal(self._key, self.address, error) from error
        self._port = sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        """Where it listens, as host:port; the real port once it has started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    async def stop_accepting(self) -> None:
        """Take no new connections, and close those that are idle."""
        await self._close_door()
        if self._runner.server is not None:
            self._runner.server.pre_shutdown()

    async def say_farewell(self) -> None:
        """Take no new connections, and have clients leave of themselves, for a short time; somebody else is there."""
        await self._close_door()
        if isinstance(self._runner.server, BareServer):
            await self._runner.server.say_farewell()

    async def _close_door(self) -> None:
        if self._door is not None:
            await self._door.close()

    async def stop(self) -> None:
        """Cut what is left, and close everything."""
        await self._close_door()
        await self._runner.cleanup()
