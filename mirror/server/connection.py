"""One client's connection: neither silence nor slowness of the client keeps it open for ever.

aiohttp's protocol gives the rest of a head as long as an idle connection, and a client that reads nothing for ever.
Here a head has `HEAD_SECONDS` from when the connection was accepted, or from its first byte or the end of the answer
before it, whichever came later. What has been written has to be taken: `STALL_SECONDS` without a byte end it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from mirror.oci.error_codes import ErrorCode, error_body
from mirror.server.admission import Admission
from mirror.server.parting import HEADERS, parting_answer
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
        "_begun",
        "_head_timer",
        "_is_answering",
        "_is_ending",
        "_stalls",
        "_tries_tls",
    )

    def __init__(self, manager: web.Server, admission: Admission, **options: Any) -> None:
        super().__init__(manager, **options)
        self._admission = admission
        self._begun = b""
        """The last bytes of a head whose end has not come; empty between requests."""
        self._tries_tls = False
        self._is_answering = False
        """Whether a request has been taken in, and not been answered yet; aiohttp's task learns of both later."""
        self._is_ending = False
        """Whether what is asked next is asked last."""
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
        # An answer has been given once the kernel has all of it: nothing is left behind when the connection closes.
        accepted.set_write_buffer_limits(high=0)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room."""
        self._admission.left(self)
        self._expect_no_head()
        self._stalls.end()
        super().connection_lost(exc)

    def close(self) -> None:
        """Answer what is being asked and then close; at once if nothing is, which aiohttp leaves open and deaf."""
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

    # Heads. ----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in bytes of the client."""
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
