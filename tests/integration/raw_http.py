"""An HTTP client on a bare socket: reads exactly what a test asks for, and sees every byte of its connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from tests.integration.conftest import RunningMirror

_HEAD_END = b"\r\n\r\n"
_PATIENCE = 45.0  # seconds; less than the 60 after which the mirror cuts who takes nothing
_PIECE = 256 * 1024


class Cut(Exception):
    """The connection ended before what was waited for had come; `received` is what did."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"cut after {len(received)} bytes")
        self.received = received


@dataclass(frozen=True, slots=True)
class Head:
    """A status line and headers; names in lower case."""

    version: str
    status: int
    headers: dict[str, str]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        status_line, *fields = data.decode("latin-1").split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        assert version in {"HTTP/1.0", "HTTP/1.1"}, status_line
        pairs = [field.partition(":") for field in fields]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        assert len(headers) == len(pairs), f"a header is there twice: {fields}"
        return cls(version, int(status), headers)

    @property
    def length(self) -> int:
        return int(self.headers["content-length"])


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A head and what followed it; `whole` tells whether the framing said so, rather than a cut."""

    head: Head
    body: bytes
    whole: bool


class RawClient:
    """One connection to the public listener."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._read = bytearray()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    def send_now(self, data: bytes) -> None:
        """Send what a socket takes at once, before anybody else has a turn."""
        assert self._socket.send(data) == len(data)

    async def ask(self, path: str, method: str = "GET", version: str = "1.1", **headers: str) -> None:
        """Send a request; underscores in header names stand for hyphens."""
        await self.send(request(path, method, version, **headers))

    async def head(self) -> Head:
        """Read the head of the next answer."""
        while (end := self._read.find(_HEAD_END)) < 0:
            await self._more()
        return Head.parse(self._take(end + len(_HEAD_END))[: -len(_HEAD_END)])

    async def exactly(self, size: int) -> bytes:
        """Read that many bytes; raises Cut if fewer come."""
        while len(self._read) < size:
            await self._more()
        return self._take(size)

    async def pour(self, size: int, into: Callable[[bytes | memoryview], object]) -> None:
        """Read that many bytes and keep none; raises Cut if fewer come. Others get their turn between pieces."""
        buffer = memoryview(bytearray(_PIECE))
        read = self._take(min(size, len(self._read)))
        into(read)
        left = size - len(read)
        while left:
            async with asyncio.timeout(_PATIENCE):
                count = await self._loop.sock_recv_into(self._socket, buffer[: min(left, _PIECE)])
            if not count:
                raise Cut(b"")
            into(buffer[:count])
            left -= count
            await asyncio.sleep(0)

    async def rest(self) -> bytes:
        """Read until the connection ends, in order or not."""
        try:
            while True:
                await self._more()
        except Cut as cut:
            return cut.received

    async def chunked(self) -> bytes:
        """Read a chunked body; raises Cut unless its last chunk comes."""
        body = bytearray()
        try:
            while size := await self._chunk_size():
                body += await self.exactly(size)
                assert await self.exactly(2) == b"\r\n"
            assert await self.exactly(2) == b"\r\n"
        except Cut as cut:
            raise Cut(bytes(body) + cut.received) from None
        return bytes(body)

    async def answer(self, method: str = "GET") -> RawAnswer:
        """Read a whole answer, or as much of it as comes."""
        head = await self.head()
        if method == "HEAD" or head.status == 304:
            return RawAnswer(head, b"", whole=True)
        try:
            if head.headers.get("transfer-encoding") == "chunked":
                return RawAnswer(head, await self.chunked(), whole=True)
            return RawAnswer(head, await self.exactly(head.length), whole=True)
        except Cut as cut:
            return RawAnswer(head, cut.received, whole=False)

    async def nothing_comes(self, seconds: float = 0.1) -> bool:
        """Tell whether the connection stays open and silent for so long."""
        if self._read:
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._more()
        except TimeoutError:
            return True
        except Cut:
            return False
        return False

    async def ended(self) -> bool:
        """Wait for more; tell whether the end came instead."""
        try:
            await self._more()
        except Cut as cut:
            return not cut.received
        return False

    def reset(self) -> None:
        """End the connection by RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _chunk_size(self) -> int:
        while (end := self._read.find(b"\r\n")) < 0:
            await self._more()
        return int(self._take(end + 2), 16)

    async def _more(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                data = await self._loop.sock_recv(self._socket, _PIECE)
        except ConnectionError:
            data = b""
        if not data:
            raise Cut(self._take(len(self._read)))
        self._read += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken


def request(path: str, method: str = "GET", version: str = "1.1", **headers: str) -> bytes:
    """Return the bytes of a request."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/{version}\r\nHost: mirror.test\r\n{fields}\r\n".encode()


@asynccontextmanager
async def raw_client(mirror: RunningMirror | str, receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """Connect to a mirror, or to host:port; with a small receive buffer, little arrives that is not read."""
    address = mirror if isinstance(mirror, str) else mirror.mirror.public.address
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        yield RawClient(connection)
