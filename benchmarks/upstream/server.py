"""The conversation on one connection: a token is asked for, files are sent by the kernel, ranges are understood."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path

from benchmarks.upstream.pace import Pace
from benchmarks.upstream.request import Request
from tests.fakes.content import OCI_MANIFEST

TOKEN = "benchmark"  # noqa: S105  # what everybody gets
STATISTICS = "/statistics"
"""Answers {"requests": …, "bytes": …}: what was asked below /v2/ so far, and sent of bodies there."""

_TLS = b"\x16"
"""How a client begins that tries TLS first, as Skopeo does; a closed connection tells it to go on without."""

_CONTENT = re.compile(r"/v2/([a-z/]+)/(manifests|blobs)/[a-z0-9:]+")


class Server:
    """A registry whose content is the files below `folder`."""

    def __init__(self, folder: Path, pace: Pace) -> None:
        self._folder = folder
        self._pace = pace
        self._requests = 0
        self._bytes = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until its end."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._pace.round_trip()  # of the handshake
            while (first := await reader.readexactly(1)) != _TLS:
                head = first + await reader.readuntil(b"\r\n\r\n")
                await self._answer(Request(head.decode("latin-1")), writer)
        writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == STATISTICS:
            _say(request, writer, "200 OK", {"requests": self._requests, "bytes": self._bytes})
            return
        await self._pace.round_trip()
        if request.path == "/token":
            _say(request, writer, "200 OK", {"token": TOKEN, "expires_in": 3600})
            return
        self._requests += 1
        found = _CONTENT.fullmatch(request.path)
        file = self._folder / request.path[1:]
        if request.header("authorization") != f"Bearer {TOKEN}":
            _say(request, writer, "401 Unauthorized", {}, _challenge(request, found[1] if found else None))
        elif request.path == "/v2/":
            _say(request, writer, "200 OK", {})
        elif found and file.is_file():
            await self._send(request, writer, file)
        else:
            _say(request, writer, "404 Not Found", {})

    async def _send(self, request: Request, writer: asyncio.StreamWriter, file: Path) -> None:
        size = _size(file)
        span = request.span(size)
        start, stop = span or (0, size)
        partial = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n" if span else ""
        writer.write(
            f"HTTP/1.1 {'206 Partial Content' if span else '200 OK'}\r\n{_described(file)}"
            f"Accept-Ranges: bytes\r\n{partial}Content-Length: {stop - start}\r\n\r\n".encode()
        )
        if not request.is_head:
            await self._send_body(writer, file, start, stop)

    async def _send_body(self, writer: asyncio.StreamWriter, file: Path, start: int, stop: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with file.open("rb") as opened:
            for offset, length in self._pace.pieces(start, stop):
                await loop.sendfile(writer.transport, opened, offset, length, fallback=False)
                self._bytes += length
                await self._pace.earned(offset + length - start, began)


def _described(file: Path) -> str:
    """Return the headers that tell what a file is; a manifest is there by tag and by digest, with the same bytes."""
    if file.parent.name == "blobs":
        digest, media_type = file.name, "application/octet-stream"
    else:
        (by_digest,) = file.parent.glob("sha256:*")
        digest, media_type = by_digest.name, OCI_MANIFEST
    return f'Content-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\nETag: "{digest}"\r\n'


def _size(file: Path) -> int:
    return file.stat().st_size


def _challenge(request: Request, repository: str | None) -> str:
    scope = f',scope="repository:{repository}:pull"' if repository else ""
    return f'WWW-Authenticate: Bearer realm="http://{request.header("host")}/token",service="benchmark"{scope}\r\n'


def _say(
    request: Request, writer: asyncio.StreamWriter, status: str, document: dict[str, object], headers: str = ""
) -> None:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + (b"" if request.is_head else body))
