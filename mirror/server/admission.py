"""How many connections there may be: never more than the limit, and nobody is turned away without a word."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Protocol

from mirror.oci.error_codes import ErrorCode
from mirror.proxy.events.connections import ConnectionRefused, ConnectionsCounted
from mirror.proxy.events.observer import Observer
from mirror.server.parting import parting_answer

_LINGER_SECONDS = 1.0
_LINGERING_AT_ONCE = 64
# Those who are turned away have a descriptor each as well; beyond this many they are not waited for.


class Closable(Protocol):
    """What admission knows of a connection."""

    def close(self) -> None:
        """End it, at once if nothing is being answered on it."""


class Admission:
    """The open connections of a listener, at most `limit`, and which of them wait for a next request."""

    def __init__(self, limit: int, observer: Observer) -> None:
        self._limit = limit
        self._observer = observer
        self._open: set[Closable] = set()
        self._idle: OrderedDict[Closable, None] = OrderedDict()
        self._lingering = 0
        self._count()

    def admit(self, connection: Closable) -> bool:
        """Tell whether there is room for `connection`, and count it; the one idle for longest may have to go for it."""
        if len(self._open) >= self._limit:
            if not self._idle:
                return False
            longest_idle = next(iter(self._idle))
            self.left(longest_idle)
            longest_idle.close()
        self._open.add(connection)
        self._count()
        return True

    def idle(self, connection: Closable) -> None:
        """Take note that `connection` waits for a next request, of which nothing has come."""
        if connection in self._open:
            self._idle[connection] = None

    def rests_again(self, connection: Closable) -> None:
        """Take note that `connection` was given at once what it asked for, and waits for a next request."""
        if connection in self._idle:
            self._idle.move_to_end(connection)
        else:
            self.idle(connection)

    def busy(self, connection: Closable) -> None:
        """Take note that something of a request has come on `connection`."""
        self._idle.pop(connection, None)

    def left(self, connection: Closable) -> None:
        """Take note that `connection` has ended, or is about to."""
        self._idle.pop(connection, None)
        if connection in self._open:
            self._open.remove(connection)
            self._count()

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Answer that there is no room, and close."""
        self.report("full", transport)
        transport.write(
            parting_answer(
                HTTPStatus.SERVICE_UNAVAILABLE,
                ErrorCode.UNAVAILABLE,
                "the mirror has as many connections as it can",
                {"Retry-After": "1"},
            )
        )
        if self._lingering >= _LINGERING_AT_ONCE:
            transport.abort()
            return
        self._lingering += 1
        transport.set_protocol(_TurnedAway(transport, self._gone))

    def report(self, reason: str, transport: asyncio.BaseTransport) -> None:
        """Tell the observer of a connection that is closed for `reason` (see ConnectionRefused)."""
        peer = transport.get_extra_info("peername")
        self._observer.notify(ConnectionRefused(reason, str(peer[0]) if peer else ""))

    def _gone(self) -> None:
        self._lingering -= 1

    def _count(self) -> None:
        self._observer.notify(ConnectionsCounted(len(self._open), self._limit))


class _TurnedAway(asyncio.Protocol):
    """A connection that has its answer, and a moment to take it: closing with bytes unread would take it away again."""

    def __init__(self, transport: asyncio.Transport, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._timer = asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)
        with suppress(OSError):
            transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for its end."""
        self._timer.cancel()
        self._gone()
