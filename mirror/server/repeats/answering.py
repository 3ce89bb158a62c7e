"""A connection on which what asks in the very bytes that asked before is answered without aiohttp, while it rests."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from mirror.server.admission import Admission
from mirror.server.connection import Connection
from mirror.server.repeats import heads
from mirror.server.repeats.repeat import Repeat
from mirror.server.repeats.repeats import Repeats
from mirror.server.repeats.sending import Sending


class AnsweringConnection(Connection):
    """A connection that remembers what it answered, for itself and all others, and gives it again."""

    __slots__ = ("_asked", "_client", "_repeats", "_sending")

    def __init__(self, manager: web.Server, admission: Admission, repeats: Repeats, **options: Any) -> None:
        super().__init__(manager, admission, **options)
        self._repeats = repeats
        self._client = ""
        self._asked: bytes | None = None
        """The head of the request that is being answered, if it came alone and at once."""
        self._sending: Sending | None = None
        """The answer that is being given again, unless that takes no time."""

    # Coming and going. -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, and know whose."""
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give up what is being sent, and make room."""
        self._stop_sending()
        super().connection_lost(exc)

    def close(self) -> None:
        """Close behind what is being sent; at once if nothing is."""
        if self._sending is not None:
            self._sending.is_last = True
        else:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Cut what is being answered."""
        self._stop_sending()
        await super().shutdown(timeout)

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _process_keepalive(self) -> None:
        if self._sending is not None:
            self._stay()
        super()._process_keepalive()

    def _stay(self) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    # Asking. ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in bytes of the client; what was asked before in the same bytes is answered at once."""
        if self._sending is not None:
            self._sending.hold(data)
            return
        self._answer(data, self._repeats.find)

    def _answer(self, data: bytes, find: Callable[[bytes], Repeat | None]) -> None:
        is_resting = self._is_resting
        if is_resting and not self._is_ending and (repeat := find(data)):
            self._give_again(repeat, data)
        else:
            self._take_in(data, is_resting=is_resting)

    def _take_in(self, data: bytes, *, is_resting: bool) -> None:
        """Go the usual way."""
        self._asked = data if is_resting and heads.is_whole(data) else None
        super().data_received(data)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, and remember it for those who ask the same."""
        answer, reset = await super().finish_response(request, resp, start_time)
        asked, self._asked = self._asked, None
        if asked is not None and answer.keep_alive and not reset:
            self._repeats.remember(asked, request, answer)
        return answer, reset

    @property
    def _is_resting(self) -> bool:
        """Tell whether nothing of a request is there, and all that was written has been taken."""
        # Writing is paused while anything is left, and a transport that is closing reads nothing.
        return (
            self._waiting
            and not self._begun
            and not self._messages
            and not (self._close or self._force_close or self._upgraded or self._paused)
        )

    # Answering again. ------------------------------------------------------------------------------------

    def _give_again(self, repeat: Repeat, head: bytes) -> None:
        """Answer at once: what a request does beside its answer is done here, or by what is told of it."""
        transport = self.transport
        if transport is None:
            return
        if self._head_timer is not None:
            # The first request of its connection, of whose end without another aiohttp does not know.
            self._expect_no_head()
            self._keepalive = True
            self._stay()
            self._process_keepalive()
        began = time.monotonic()
        if repeat.is_in_memory:
            transport.write(repeat.bytes)
        elif not self._is_sent(repeat, head, transport):
            return
        self._next_keepalive_close_time = began + self._keepalive_timeout
        self._admission.rests_again(self)
        self._repeats.given(repeat, self._client, round((time.monotonic() - began) * 1_000_000))

    def _is_sent(self, repeat: Repeat, head: bytes, transport: asyncio.Transport) -> bool:
        """Send an answer whose body is not in memory, and tell whether all of it went at once; else it goes on."""
        begun = repeat.begin(transport)
        if begun is not None and begun.is_whole:
            begun.close()
            return True
        self._admission.busy(self)
        send = functools.partial(self._repeats.send, repeat, self._client, transport, begun)
        self._sending = Sending(transport, send, functools.partial(self._go_on, head))
        return False

    def _go_on(self, head: bytes, was_sent: bool) -> None:
        """Go on behind an answer that was given again; one that could not be is given the usual way."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        if was_sent:
            self._stay()
            self._admission.idle(self)
        else:
            self._take_in(head, is_resting=True)
        if sending.is_last:
            self.close()
        elif sending.held:
            self._answer(sending.held, self._repeats.look_up)
