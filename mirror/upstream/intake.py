"""A long body, received into memory of its own: the client library would copy each of its bytes twice on their way.

Its connection is lent by the library once the head of the answer is read, and goes back when the body is complete,
so that the next request finds it in order; one on which more comes is closed. Plain and encrypted ones are alike.
"""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp.client_proto import ResponseHandler

from mirror.upstream.buffers import Buffers

SHORTEST = 64 * 1024
"""Bodies with fewer bytes to come are not worth it."""


def intake_of(response: aiohttp.ClientResponse) -> Intake | None:
    """Return what reads the body from here on; None if it is short, here already, or of a length nobody told."""
    connection, length = response.connection, response.content_length
    is_measured = length is not None and "Transfer-Encoding" not in response.headers
    if connection is None or connection.protocol is None or length is None or not is_measured:
        return None
    if length - response.content.total_bytes < SHORTEST or response.content.exception() is not None:
        return None
    return Intake(response.content, connection.protocol, length)


class Intake(asyncio.BufferedProtocol):
    """Reads what `content` does not have yet of a body of `length` bytes, through a connection that `owner` lends."""

    def __init__(self, content: aiohttp.StreamReader, owner: ResponseHandler, length: int) -> None:
        assert owner.transport is not None  # noqa: S101  # it has a connection
        self._content = content
        self._owner = owner
        self._transport = owner.transport
        self._ready = memoryview(_drained(content))
        self._left = length - content.total_bytes
        # With a place for one byte that should not come: who sends it is not asked anything else.
        self._buffers = Buffers(self._left)
        self._filled = 0
        self._is_paused = False
        self._is_exceeded = False
        self._is_cut = False
        self._cause: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        if not content.is_eof():
            self._take_over()

    def _take_over(self) -> None:
        # Its deadline ends with that: whoever reads has one.
        self._owner.pause_reading()
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    async def read(self, most: int | None = None) -> memoryview:
        """Return what has come, or `most` of it, waiting for at least one byte; empty at the end.

        It is good until two more calls have been made, and of a short body (see LASTING) for good. Raises
        aiohttp.ClientPayloadError for a body that is cut.
        """
        if not self._ready:
            await self._arrival()
            self._turn()
        data = self._ready if most is None else self._ready[:most]
        self._ready = self._ready[len(data) :]
        return data

    async def _arrival(self) -> None:
        while self._left and not self._filled:
            if self._is_cut:
                raise aiohttp.ClientPayloadError("the body ended before its length") from self._cause
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _turn(self) -> None:
        """Have what has come read, and receive into the memory that was read."""
        self._ready = self._buffers.turn(self._filled, self._left)
        self._filled = 0
        if not self._left:
            self._give_back()
        elif self._is_paused and not self._is_cut:
            self._is_paused = False
            self._transport.resume_reading()

    def _give_back(self) -> None:
        if not self._content.is_eof():
            self._transport.set_protocol(self._owner)
            if self._is_exceeded:
                self._owner.force_close()
            self._owner.resume_reading(resume_parser=False)
            self._content.feed_eof()

    # For the connection. ---------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes belong: as many as there is room for, and one behind the body if that is all."""
        stop = min(self._buffers.room, self._filled + self._left)
        return self._buffers.filling[self._filled : stop + (stop == self._filled + self._left)]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes are there. Nothing more is read while there is no room: whoever sends is held back."""
        self._is_exceeded = nbytes > self._left
        size = min(nbytes, self._left)
        self._filled += size
        self._left -= size
        if not self._left or self._filled == self._buffers.room:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Nothing more will come."""
        self._is_cut = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, which its owner needs to know."""
        self._cause = exc
        self._is_cut = True
        self._wake()
        self._owner.connection_lost(exc)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _drained(content: aiohttp.StreamReader) -> bytes:
    """Return what has come; to be asked again, since the parser goes on where there is room."""
    came = bytearray()
    while piece := content.read_nowait():
        came += piece
    return bytes(came)
