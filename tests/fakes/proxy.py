"""A small http proxy: CONNECT makes a tunnel, an absolute form is passed on; it keeps all that it could read.

A connection is for one request.
"""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.fakes.credentials import basic_credentials
from tests.fakes.request import Request, parse_request

_HOP_BY_HOP = {"proxy-authorization", "proxy-connection", "connection", "keep-alive"}


@dataclass
class FakeProxy:
    """A proxy on loopback. `names` are hosts that it resolves, to ports of this machine, besides addresses.

    `login` is the user name and password it wants; `status` (None: the truth) is what it answers instead; with `tls`
    it is an https proxy.
    """

    names: dict[str, int] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    status: int | None = None
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def host(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def targets(self) -> list[str]:
        """What it was asked for, in order: `CONNECT host:port`, or a method and an address."""
        return [f"{request.method} {request.target.partition('?')[0]}" for request in self.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                request = parse_request((await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n"))
                self.requests.append(request)
                await self._answer(request, reader, writer)
        finally:
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.login is not None and basic_credentials(request.header("Proxy-Authorization")) != self.login:
            writer.write(b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
            return
        if self.status is not None:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)
            return
        tunnel = request.method == "CONNECT"
        target = urlsplit(f"//{request.target}" if tunnel else request.target)
        port = self.names.get(target.hostname or "", target.port or 80)
        there, onward = await asyncio.open_connection("127.0.0.1", port)
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            onward.write(_origin_form(request, target.path, target.query))
            status, _, head = (await there.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            writer.write(status + b"\r\nConnection: close\r\n" + head)
        try:
            await asyncio.gather(_pipe(reader, onward), _pipe(there, writer))
        finally:
            onward.close()


def _origin_form(request: Request, path: str, query: str) -> bytes:
    headers = [f"{name}: {value}" for name, value in request.headers if name.lower() not in _HOP_BY_HOP]
    line = f"{request.method} {path or '/'}{'?' if query else ''}{query} HTTP/1.1"
    return "\r\n".join([line, *headers, "Connection: close", "", ""]).encode("latin-1")


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
        writer.close()
