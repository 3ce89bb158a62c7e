"""HTTP/1.1 on a bare transport: a framework would refuse to send the broken answers that tests need."""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import cast

from tests.fakes.request import Request, parse_request

HEAD_END = b"\r\n\r\n"
FLUSH_TIMEOUT = 30.0

Serve = Callable[[Request, "Connection"], Awaitable[None]]
Notify = Callable[["Connection"], None]


class Connection(asyncio.Protocol):
    """One client connection: requests in, one after the other; bytes out, with backpressure."""

    def __init__(self, serve: Serve, opened: Notify, lost: Notify) -> None:
        self._serve = serve
        self._opened = opened
        self._lost = lost
        self._received = bytearray()
        self._more = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.task = asyncio.get_running_loop().create_task(self._run())
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Cancelling is how an answer that waits (at a gate, for room to write) learns that nobody listens.
        if self.task is not None:
            self.task.cancel()
        self._lost(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client left")
        self._transport.write(data)
        await self._writable.wait()

    def close(self) -> None:
        """End the connection in order: what was written arrives, then FIN."""
        self._transport.close()

    async def reset(self) -> None:
        """End the connection by RST, after the client's kernel has all that was written."""
        sock = self._transport.get_extra_info("socket")
        async with asyncio.timeout(FLUSH_TIMEOUT):
            # No event tells that the peer has acknowledged everything.
            while self._transport.get_write_buffer_size() or _unacknowledged(sock):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    async def _run(self) -> None:
        try:
            while not self._transport.is_closing():
                await self._serve(await self._next_request(), self)
        except (ConnectionError, TimeoutError, ValueError):
            self._transport.abort()

    async def _next_request(self) -> Request:
        head = await self._take_head()
        request = parse_request(head)
        length = int(request.header("Content-Length") or 0)
        while len(self._received) < length:
            await self._wait_for_more()
        body = bytes(self._received[:length])
        del self._received[:length]
        return Request(request.method, request.target, request.headers, body)

    async def _take_head(self) -> bytes:
        while (end := self._received.find(HEAD_END)) < 0:
            await self._wait_for_more()
        head = bytes(self._received[:end])
        del self._received[: end + len(HEAD_END)]
        return head

    async def _wait_for_more(self) -> None:
        self._more.clear()
        await self._more.wait()


def _unacknowledged(sock: socket.socket) -> int:
    count = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    return int(struct.unpack("i", count)[0])
