"""The answers that may be given again, by the bytes that ask for them; bounded in bytes, the latest used stay.

What is read in a turn of the loop is answered together: whether an answer holds is asked once, and what there is to
tell is told behind them all.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict

from aiohttp import web

from mirror.errors import MirrorError
from mirror.proxy.events.gathering import Gathering
from mirror.proxy.events.requests import CUT
from mirror.proxy.events.troubles import TaskCrashed
from mirror.server.delivery import Delivery
from mirror.server.repeats import heads
from mirror.server.repeats.again import marked
from mirror.server.repeats.repeat import Repeat
from mirror.server.requests import Requests
from mirror.server.turn import Turn

MOST_BYTES = 32 * 1024 * 1024
"""Of all answers together, with the heads that ask for them."""

LARGEST = 256 * 1024
"""Bytes of one; what is larger costs its bytes, not what is decided about it."""

MOST_TOGETHER = 64
"""Answers after which it is asked and told anew, though the turn goes on."""


class Repeats:
    """Knows by the head of a request what its answer is, if that was given before."""

    def __init__(self, observer: Gathering, requests: Requests, most_bytes: int = MOST_BYTES) -> None:
        self._observer = observer
        self._requests = requests
        self._most_bytes = most_bytes
        self._repeats: OrderedDict[bytes, Repeat] = OrderedDict()
        self._turn = Turn(self._come_round)
        self._holding: dict[bytes, Repeat] = {}
        """Those that were found to hold in this turn."""
        self._times: defaultdict[Repeat, int] = defaultdict(int)
        """How often each was given in this turn."""
        self._together = 0
        self.size = 0
        """Bytes of memory that they take."""

    def find(self, head: bytes) -> Repeat | None:
        """Return the answer to what these bytes, which have just been read, ask; None if it is not known to hold."""
        return self._holding.get(head) or self._hold(head)

    def _hold(self, head: bytes) -> Repeat | None:
        repeat = self.look_up(head)
        if repeat is not None:
            self._holding[head] = repeat
        return repeat

    def look_up(self, head: bytes) -> Repeat | None:
        """Return the same for bytes that were read before, and so have no part in this turn (see `turn`)."""
        repeat = self._repeats.get(head)
        if repeat is None:
            return None
        if not repeat.holds():
            self._forget(head)
            return None
        self._repeats.move_to_end(head)
        self._turn.join()
        return repeat

    def given(self, repeat: Repeat, client: str, microseconds: int) -> None:
        """Note that an answer was given again, which took so long; told of when the turn ends, at the latest."""
        self._times[repeat] += 1
        self._observer.add(repeat.told, client, microseconds)
        self._together += 1
        if self._together == MOST_TOGETHER:
            self._come_round()

    def _come_round(self) -> None:
        """Have done with this turn: what comes next is asked and told anew."""
        self._together = 0
        self._holding.clear()
        self._observer.tell()
        times = list(self._times.items())
        self._times.clear()
        for repeat, count in times:
            repeat.given(count)

    async def send(self, repeat: Repeat, client: str, transport: asyncio.Transport, begun: Delivery | None) -> bool:
        """Send what is left of an answer that has `begun`, else all of it, and tell of it; False if nothing was sent.

        If that is so, the usual way has an answer. If it went wrong in the middle, the connection has been cut.
        """
        began = time.monotonic()
        note = repeat.note(client)
        note.status = note.sent = 0
        is_told, delivery = True, begun
        with self._requests.counted_one():
            try:
                delivery = begun or await repeat.prepare(transport)
                if delivery is None:
                    is_told = False
                else:
                    await delivery.finish(note)
            except MirrorError:
                is_told = False
            except asyncio.CancelledError:
                note.cause = CUT
                raise
            except Exception as error:  # the last resort, as for every request
                self._observer.notify(TaskCrashed(f"{note.method} {note.path}", error))
                note.cause = f"bug: {type(error).__name__}"
                transport.abort()
            finally:
                if delivery is not None:
                    delivery.close()
                if is_told:
                    note.seconds = time.monotonic() - began
                    self._observer.notify(note)
        return is_told

    def remember(self, head: bytes, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Remember what was answered to these bytes, if that may be given again."""
        again = marked(response)
        if again is None or not heads.is_plain(request):
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
