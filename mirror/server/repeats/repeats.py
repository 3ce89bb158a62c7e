"""The answers that may be given again, by the bytes that ask for them; bounded in bytes, the latest used stay."""

from __future__ import annotations

from collections import OrderedDict

from aiohttp import web

from mirror.proxy.events.observer import Observer
from mirror.server.repeats import heads
from mirror.server.repeats.again import marked
from mirror.server.repeats.repeat import Repeat

MOST_BYTES = 32 * 1024 * 1024
"""Of all answers together, with the heads that ask for them."""

LARGEST = 256 * 1024
"""Bytes of one; what is larger costs its bytes, not what is decided about it."""


class Repeats:
    """Knows by the head of a request what its answer is, if that was given before."""

    def __init__(self, observer: Observer, most_bytes: int = MOST_BYTES) -> None:
        self._observer = observer
        self._most_bytes = most_bytes
        self._repeats: OrderedDict[bytes, Repeat] = OrderedDict()
        self.size = 0
        """Bytes of memory that they take."""

    def find(self, head: bytes) -> Repeat | None:
        """Return the answer to what these bytes ask, if it is known and what it stands on holds."""
        repeat = self._repeats.get(head)
        if repeat is None:
            return None
        if not repeat.holds():
            self._forget(head)
            return None
        self._repeats.move_to_end(head)
        return repeat

    def given(self, repeat: Repeat, client: str, seconds: float) -> None:
        """Tell of an answer that was given again, as of every other."""
        self._observer.notify(repeat.given(client, seconds))

    def remember(self, head: bytes, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Remember what was answered to these bytes, if that may be given again."""
        again = marked(response)
        if again is None or not isinstance(response, web.Response) or not heads.is_plain(request):
            return
        repeat = Repeat(request, response, again)
        if repeat.size + len(head) > LARGEST:
            return
        self._forget(head)
        self._repeats[head] = repeat
        self.size += repeat.size + len(head)
        while self.size > self._most_bytes:
            self._forget(next(iter(self._repeats)))

    def _forget(self, head: bytes) -> None:
        repeat = self._repeats.pop(head, None)
        if repeat is not None:
            self.size -= repeat.size + len(head)
