"""One client's connection: neither silence nor slowness of the client keeps it open for ever.

aiohttp's protocol gives the rest of a head as long as an idle connection, and a client that reads nothing for ever.
Here a head has `HEAD_SECONDS` from when the connection was accepted, or from its first byte or the end of the answer
before it, whichever came later. What has been written has to be taken: `STALL_SECONDS` without a byte end it.

What asks on a resting connection, in the very bytes that asked before, is answered without aiohttp (see `repeats`).
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from mirror.oci.error_codes import ErrorCode, error_body
from mirror.server.admission import Admission
from mirror.server.parting import HEADERS, parting_answer
from mirror.server.repeats import heads
from mirror.server.repeats.repeat import Repeat
from mirror.server.repeats.repeats import Repeats
from mirror.server.repeats.sending import Sending
from mirror.server.stalls import Stalls

HEAD_SECONDS = 10.0
"""How long a client may take to send the head of a request."""

_HEAD_END = b"\r\n\r\n"
_TLS_HELLO = b"\x16\x03"
# How each version of TLS begins; many clients try https first, and plain http when that has failed.


class Connection(RequestHandler):
    """A connection that is counted, waits for heads and readers only so long, and answers what is not HTTP in JSON."""

    __slots__ = (
        "_admission",
        "_asked",
        "_begun",
        "_client",
        "_head_timer",
        "_is_answering",
        "_is_ending",
        "_repeats",
        "_sending",
        "_stalls",
        "_tries_tls",
    )

    def __init__(self, manager: web.Server, admission: Admission, repeats: Repeats, **options: Any) -> None:
        super().__init__(manager, **options)
        self._admission = admission
        self._repeats = repeats
        self._client = ""
        self._asked: bytes | None = None
        """The head of the request that is being answered, if it came alone and at once."""
        self._begun = b""
        """The last bytes of a head whose end has not come; empty between requests."""
        self._tries_tls = False
        self._is_answering = False
        """Whether a request has been taken in, and not been answered yet; aiohttp's task learns of both later."""
        self._is_ending = False
        """Whether what is asked next is asked last."""
        self._sending: Sending | None = None
        """The answer that is being given again, unless that takes no time."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._stalls = Stalls()

    # Coming and going. -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, if there is room for one more connection."""
        accepted = cast(asyncio.Transport, transport)
        if not self._admission.admit(self):
            self._admission.turn_away(accepted)
            return
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        # An answer has been given once the kernel has all of it: nothing is left behind when the connection closes.
        accepted.set_write_buffer_limits(high=0)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room."""
        self._admission.left(self)
        self._expect_no_head()
        self._stalls.end()
        self._stop_sending()
        super().connection_lost(exc)

    def close(self) -> None:
        """Answer what is being asked and then close; at once if nothing is, which aiohttp leaves open and deaf."""
        if self._sending is not None:
            self._sending.is_last = True
            return
        waiting = self._waiting
        super().close()
        if waiting and self.transport is not None:
            self.transport.close()

    def end_soon(self) -> None:
        """Answer one more request at most, and say with the answer that it is the last."""
        self._is_ending = True
        self._mark_the_last()

    def _mark_the_last(self) -> None:
        if self._messages:
            message, payload = self._messages.pop()
            if isinstance(message, RawRequestMessage):
                message = message._replace(should_close=True)
            self._messages.append((message, payload))

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Cut what is being answered."""
        self._stop_sending()
        await super().shutdown(timeout)

    def _process_keepalive(self) -> None:
        if self._sending is not None:
            self._stay()
        super()._process_keepalive()

    def _stay(self) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    # Heads. ----------------------------------------------------------------------------------------------

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
        self._begun = (self._begun + data).rpartition(_HEAD_END)[2][1 - len(_HEAD_END) :]
        self._tries_tls = self._tries_tls or data.startswith(_TLS_HELLO)
        super().data_received(data)
        self._is_answering = self._is_answering or bool(self._messages)
        if self._is_ending:
            self._mark_the_last()
        self._admission.busy(self)
        if self._messages or self._request_in_progress:
            self._expect_no_head()
        elif self._begun and self._head_timer is None:
            self._expect_head()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; what has come of a next head has its time from now on."""
        answer, reset = await super().finish_response(request, resp, start_time)
        asked, self._asked = self._asked, None
        if asked is not None and answer.keep_alive and not reset:
            self._repeats.remember(asked, request, answer)
        if answer.keep_alive and not reset and not self._messages:
            # What is left of a body has to be read before.
            self._is_answering = request.body_exists
            if self._begun:
                self._expect_head()
            else:
                self._admission.idle(self)
        return answer, reset

    @property
    def _waiting(self) -> bool:
        """Tell whether nothing is being answered, and nothing is there that could be."""
        if self._waiter is None:
            return not self._is_answering
        return not self._waiter.done()

    @property
    def _is_resting(self) -> bool:
        """Tell whether nothing of a request is there, and all that was written has been taken."""
        waiter = self._waiter
        # Writing is paused while anything is left, and a transport that is closing reads nothing.
        return (
            not (self._is_answering if waiter is None else waiter.done())
            and not self._begun
            and not self._messages
            and not (self._close or self._force_close or self._upgraded or self._paused)
        )

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

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _expect_head(self) -> None:
        self._expect_no_head()
        self._head_timer = self._loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _expect_no_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        # While something is being answered nothing may be written; the end of the answer looks at the head again.
        if self.transport is None or not self._waiting:
            return
        self._admission.report("slow_head", self.transport)
        if self._begun:
            message = f"the request was not complete within {HEAD_SECONDS:.0f} s"
            self.transport.write(parting_answer(HTTPStatus.REQUEST_TIMEOUT, ErrorCode.UNSUPPORTED, message))
        self.close()

    # Readers. --------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Begin to watch whether the client takes what has been written."""
        super().pause_writing()
        if self.transport is not None:
            self._stalls.watch(self.transport)

    def resume_writing(self) -> None:
        """Stop watching: it has taken everything."""
        self._stalls.end()
        super().resume_writing()

    # What is not HTTP. -----------------------------------------------------------------------------------

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that aiohttp could not parse, or that failed beyond our own handlers."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        if status == HTTPStatus.BAD_REQUEST and self.transport is not None:
            self._admission.report("tls" if self._tries_tls else "malformed", self.transport)
        body = error_body(ErrorCode.UNSUPPORTED, "not a proper HTTP request")
        response = web.Response(status=status, body=body, headers=HEADERS)
        response.force_close()
        return response
