"""One answer that is given again: its bytes, right to the second."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from email.utils import formatdate

from aiohttp import web

from mirror.proxy.events.requests import RequestFinished
from mirror.server.delivery import Delivery
from mirror.server.repeats.again import Again

_OF_THE_MOMENT = ("Age", "Date")
_OVERHEAD = 2048
# Bytes of memory beside those of the answer, generously.


class Repeat:
    """An answer that has been sent, as it is sent to the next one who asks the same."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse, again: Again) -> None:
        lines = [f"{name}: {value}" for name, value in response.headers.items() if name not in _OF_THE_MOMENT]
        self._head = "\r\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines])
        body = response.body if isinstance(response, web.Response) and request.method == "GET" else None
        self._body = body if isinstance(body, bytes) else b""
        self._again = again
        self._moment: tuple[int, int | None] = (0, None)
        self.bytes = b""
        """All of it that is in memory, as it was when `holds` was asked last."""
        self.told = again.note
        """What was told of it the first time."""
        self.size = len(self._head) + 2 * len(self._body) + _OVERHEAD
        """What it costs in memory, in bytes."""

    def holds(self) -> bool:
        """Tell whether it still is the answer, as far as that can be told at once."""
        if not self._again.holds():
            return False
        self.bytes_now()
        return True

    @property
    def is_in_memory(self) -> bool:
        """Tell whether `bytes` are all of it; else it has to be sent."""
        return self._again.deliveries is None

    def begin(self, transport: asyncio.Transport) -> Delivery | None:
        """Return it on its way, its body from where that is; None if that cannot be told at once."""
        deliveries = self._again.deliveries
        return None if deliveries is None else deliveries.at_once(transport, self.bytes)

    async def prepare(self, transport: asyncio.Transport) -> Delivery | None:
        """Return it to be sent, its body from where that is; None if it is the answer no more. Raises StoreFailed."""
        deliveries = self._again.deliveries
        return None if deliveries is None else await deliveries.prepare(transport, self.bytes_now)

    def bytes_now(self) -> bytes:
        """Return all of it that is in memory, with its age and date of this second."""
        moment = (int(time.time()), self._again.age())
        if moment != self._moment:
            self.bytes = self._rendered(*moment)
            self._moment = moment
        return self.bytes

    def given(self, times: int) -> None:
        """Note that it was given so many times."""
        self._again.given(times)

    def note(self, client: str) -> RequestFinished:
        """Return what there is to tell when `client` has all of it."""
        return replace(self.told, client=client, seconds=0.0)

    def _rendered(self, second: int, age: int | None) -> bytes:
        lines = [self._head, *(() if age is None else (f"Age: {age}",)), f"Date: {formatdate(second, usegmt=True)}"]
        return "\r\n".join([*lines, "\r\n"]).encode() + self._body
