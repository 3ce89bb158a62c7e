"""One answer that is given again: its bytes, right to the second."""

from __future__ import annotations

import time
from email.utils import formatdate

from aiohttp import web

from mirror.proxy.events.requests import RequestFinished
from mirror.server.repeats.again import Again

_OF_THE_MOMENT = ("Age", "Date")
_OVERHEAD = 2048
# Bytes of memory beside those of the answer, generously.


class Repeat:
    """An answer that has been sent, as it is sent to the next one who asks the same."""

    def __init__(self, request: web.BaseRequest, response: web.Response, again: Again) -> None:
        lines = [f"{name}: {value}" for name, value in response.headers.items() if name not in _OF_THE_MOMENT]
        self._head = "\r\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines])
        body = response.body if request.method == "GET" else None
        self._body = body if isinstance(body, bytes) else b""
        self._again = again
        self._moment: tuple[int, int | None] = (0, None)
        self._bytes = b""
        self.size = len(self._head) + 2 * len(self._body) + _OVERHEAD
        """What it costs in memory, in bytes."""

    def holds(self) -> bool:
        """Tell whether it still is the answer."""
        return self._again.holds()

    def bytes_now(self) -> bytes:
        """Return all of it, with its age and date of this second."""
        moment = (int(time.time()), self._again.age())
        if moment != self._moment:
            self._bytes = self._rendered(*moment)
            self._moment = moment
        return self._bytes

    def given(self, client: str, seconds: float) -> RequestFinished:
        """Note that `client` was given it, which took so long, and return what there is to tell of it."""
        self._again.given()
        note = self._again.note
        return RequestFinished(
            note.method,
            note.path,
            client,
            note.kind,
            note.upstream,
            note.outcome,
            note.status,
            note.source,
            note.sent,
            seconds,
            note.cause,
            note.detail,
            note.user_agent,
        )

    def _rendered(self, second: int, age: int | None) -> bytes:
        lines = [self._head, *(() if age is None else (f"Age: {age}",)), f"Date: {formatdate(second, usegmt=True)}"]
        return "\r\n".join([*lines, "\r\n"]).encode() + self._body
