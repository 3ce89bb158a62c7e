"""An answer with a blob, given again past aiohttp: what goes at once is sent without a task, the rest by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from mirror.errors import StoreFailed
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.interfaces.bodies import Body
from mirror.server.body import whole_or_cut
from mirror.server.outlet import Outlet, Stretch
from mirror.server.turns import Turns


class Delivery:
    """A head, and the first `length` bytes of a whole body behind it, on their way. Whoever has it closes it."""

    def __init__(self, transport: asyncio.Transport, head: bytes, body: Body, length: int, turns: Turns) -> None:
        self._transport = transport
        self._body = body
        self._way = Outlet(transport, turns)
        self._stretch = Stretch(body, 0, length, turns, head)

    @property
    def is_whole(self) -> bool:
        """Tell whether all of it has been sent."""
        return self._stretch.is_sent

    def begin(self) -> None:
        """Send what goes at once."""
        # What goes wrong does so again in `finish`, where it can be told and waited for.
        with suppress(OSError, StoreFailed):
            self._way.begin(self._stretch)

    async def finish(self, note: RequestFinished) -> None:
        """Send the rest, and note what was sent of it all; where that goes wrong, the connection is cut."""
        with whole_or_cut(note, self._transport.abort):
            note.status = HTTPStatus.OK
            try:
                await self._way.finish(self._stretch)
            except StoreFailed:
                await self._body.doubt()
                raise
            finally:
                note.sent = self._stretch.offset

    def close(self) -> None:
        """Let go of the body and of the way; harmless when repeated."""
        self._way.close()
        self._body.close()


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What it takes to send the same blob again: it still is `size` bytes long, and `length` of them are sent."""

    at_hand: Callable[[], Body | None]
    """Opens it, if that is a hit, asking nobody and without a wait."""
    find: Callable[[], Awaitable[Body | None]]
    """The same, and may wait for the disk; raises StoreFailed if that will not be read."""
    size: int
    length: int
    turns: Turns

    def at_once(self, transport: asyncio.Transport, head: bytes) -> Delivery | None:
        """Return a delivery that has begun; None if it has to be waited for, or the blob is not what it was."""
        return self._of(self.at_hand(), transport, head)

    async def prepare(self, transport: asyncio.Transport, head: Callable[[], bytes]) -> Delivery | None:
        """Return a delivery that has begun; None if the blob is not what it was."""
        return self._of(await self.find(), transport, head())

    def _of(self, body: Body | None, transport: asyncio.Transport, head: bytes) -> Delivery | None:
        if body is None:
            return None
        if body.size != self.size:
            body.close()
            return None
        delivery = Delivery(transport, head, body, self.length, self.turns)
        try:
            delivery.begin()
        except BaseException:
            delivery.close()
            raise
        return delivery
