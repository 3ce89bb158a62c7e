"""The only sender of blob bodies: a body is exactly as long as declared, or the connection is cut.

Bytes go from file to socket by `sendfile`, on a duplicate of the connection's socket once aiohttp has written the
headers; complete and growing files are sent alike. Whatever else happens, an error included, ends the connection
before anything else could be written into the body.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from mirror.errors import BodyCut, MirrorError, StoreFailed
from mirror.proxy.cache_status import Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.fills.progress import HOLD_BACK
from mirror.proxy.interfaces.bodies import Body
from mirror.server.exchange import Exchange
from mirror.server.pieces import Piece, split_end
from mirror.server.ranges import Span

WINDOW = 1024 * 1024
"""Bytes handed to the kernel at once, and read ahead at once."""

CHUNK = 64 * 1024
"""Bytes written at once where there is no length: so few that a slow client takes some of them in time."""

STALL_SECONDS = 60.0
"""How long a client may take nothing before its connection is cut."""


async def send_pieces(exchange: Exchange, response: web.StreamResponse, body: Body, pieces: Sequence[Piece]) -> None:
    """Send the head of `response`, which declares the length of `pieces`, and then these of `body`, in their order.

    Spans have to be in ascending order. The last HOLD_BACK bytes go out when the digest of the whole body has matched,
    whatever parts of it they are.
    """
    with _whole_or_cut(exchange, response):
        await _begin(exchange, response)
        with _own_socket(exchange.request) as target:
            await _flush_head(exchange.request)
            if _ends_with(body, pieces):
                await _send_all(target, body, pieces, exchange.note)
                return
            pieces, held = split_end(pieces, HOLD_BACK)
            await _send_all(target, body, pieces, exchange.note)
            end = await _read(body, held)
            await body.verified()
            await _send_bytes(target, end, exchange.note)


def _ends_with(body: Body, pieces: Sequence[Piece]) -> bool:
    """Tell whether the last bytes of `pieces` are those that the body itself holds back."""
    match pieces[-1]:
        case Span(_, stop):
            return stop == body.size
    return False


async def _send_all(target: int, body: Body, pieces: Sequence[Piece], note: RequestFinished) -> None:
    for piece in pieces:
        if isinstance(piece, Span):
            await _send_from(target, body, piece, note)
        else:
            await _send_bytes(target, piece, note)


async def _send_from(target: int, body: Body, span: Span, note: RequestFinished) -> None:
    offset = span.start
    while offset < span.stop:
        end = await _available(body, offset, span.stop)
        async with _doubted(body):
            await _send(target, body, offset, end, note)
        offset = end


async def _read(body: Body, pieces: Sequence[Piece]) -> bytes:
    data = bytearray()
    for piece in pieces:
        data += await _read_span(body, piece) if isinstance(piece, Span) else piece
    return bytes(data)


async def _read_span(body: Body, span: Span) -> bytes:
    data = bytearray()
    while (offset := span.start + len(data)) < span.stop:
        end = await _available(body, offset, span.stop)
        async with _doubted(body):
            await body.load(offset, end)
            data += _pread(body, offset, end)
    return bytes(data)


async def _available(body: Body, offset: int, stop: int) -> int:
    end = min(await body.sendable(offset), stop)
    if end <= offset:
        raise BodyCut("the body ended before its declared length")
    return end


def _pread(body: Body, start: int, stop: int) -> bytes:
    data = os.pread(body.fileno(), stop - start, start)
    if len(data) < stop - start:
        raise StoreFailed("the file is shorter than it was")
    return data


async def send_unmeasured(exchange: Exchange, response: web.StreamResponse, body: Body) -> None:
    """Send a body whose length nobody told, in chunks; the last one only once the digest is verified."""
    with _whole_or_cut(exchange, response):
        response.enable_chunked_encoding()
        await _begin(exchange, response)
        offset = 0
        while (end := await body.sendable(offset)) > offset:
            stop = min(end, offset + CHUNK)
            async with _doubted(body):
                await body.load(offset, stop)
                data = _pread(body, offset, stop)
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(data)
            exchange.note.sent += stop - offset
            offset = stop
        await response.write_eof()


async def _begin(exchange: Exchange, response: web.StreamResponse) -> None:
    await response.prepare(exchange.request)
    exchange.note.status = response.status


@contextmanager
def _whole_or_cut(exchange: Exchange, response: web.StreamResponse) -> Iterator[None]:
    try:
        yield
    except (MirrorError, OSError, TimeoutError) as error:
        _cut(exchange.request, response)
        exchange.note.cause = _why(error)
        if isinstance(error, MirrorError):
            exchange.note.outcome = Outcome.ERROR
    except BaseException:
        _cut(exchange.request, response)
        raise


@asynccontextmanager
async def _doubted(body: Body) -> AsyncIterator[None]:
    """Make sure that a file which fails one reader is not given to the next."""
    try:
        yield
    except StoreFailed:
        await body.doubt()
        raise


def _cut(request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.force_close()
    if request.transport is not None:
        request.transport.abort()


def _why(error: Exception) -> str:
    match error:
        case MirrorError():
            return f"body cut: {error}"
        case ConnectionError():
            return "the client went away"
        case TimeoutError():
            return f"the client took nothing for {STALL_SECONDS:.0f} s"
    return f"body cut: {type(error).__name__}"


@contextmanager
def _own_socket(request: web.BaseRequest) -> Iterator[int]:
    """Give a descriptor of the connection that is ours to wait on; asyncio keeps its own to itself."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    connection: socket.socket = transport.get_extra_info("socket")
    duplicate = os.dup(connection.fileno())
    try:
        yield duplicate
    finally:
        os.close(duplicate)


async def _flush_head(request: web.BaseRequest) -> None:
    """Wait until the headers have left the transport's buffer, so that nothing overtakes them."""
    assert request.transport is not None  # noqa: S101  # narrowed by _own_socket
    request.transport.set_write_buffer_limits(high=0)
    request.writer.send_headers()
    async with asyncio.timeout(STALL_SECONDS):
        await request.writer.drain()


async def _send(target: int, body: Body, start: int, stop: int, note: RequestFinished) -> None:
    offset = start
    while offset < stop:
        end = min(offset + WINDOW, stop)
        await body.load(offset, end)
        while offset < end:
            try:
                sent = os.sendfile(target, body.fileno(), offset, end - offset)
            except BlockingIOError:
                await _writable(target)
                continue
            except OSError as error:
                if error.errno == errno.EIO:
                    raise StoreFailed("the disk gives an error instead of the bytes") from error
                raise
            if sent == 0:
                raise StoreFailed("the file is shorter than it was")
            offset += sent
            note.sent += sent
        # A fast client would otherwise keep the loop to itself.
        await asyncio.sleep(0)


async def _send_bytes(target: int, data: bytes, note: RequestFinished) -> None:
    rest = memoryview(data)
    while rest:
        try:
            sent = os.write(target, rest)
        except BlockingIOError:
            await _writable(target)
            continue
        rest = rest[sent:]
        note.sent += sent


async def _writable(target: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(target, _set, ready)
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await ready
    finally:
        loop.remove_writer(target)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
