"""The only sender of blob bodies: a body is exactly as long as declared, or the connection is cut.

Few bytes leave with the head. More go from file to socket, past aiohttp once that has written the head (see Outlet);
complete and growing files are sent alike. Whatever else happens, an error included, ends the connection before anything
else could be written into the body.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from aiohttp import web

from mirror.errors import BodyCut, MirrorError, StoreFailed
from mirror.proxy.cache_status import Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.fills.progress import HOLD_BACK
from mirror.proxy.interfaces.bodies import Body
from mirror.server import outlet
from mirror.server.exchange import Exchange
from mirror.server.outlet import Outlet
from mirror.server.pieces import Piece, length_of, split_end
from mirror.server.ranges import Span
from mirror.server.turns import Turns

CHUNK = 64 * 1024
"""Bytes written at once through aiohttp: so few that a slow client takes some of them in time."""


async def send_pieces(
    exchange: Exchange, response: web.StreamResponse, body: Body, pieces: Sequence[Piece], turns: Turns
) -> None:
    """Send the head of `response`, which declares the length of `pieces`, and then these of `body`, in their order.

    Spans have to be in ascending order. The last HOLD_BACK bytes go out when the digest of the whole body has matched,
    whatever parts of it they are.
    """
    with whole_or_cut(exchange.note, _cutting(exchange, response)):
        if body.is_whole and length_of(pieces) <= CHUNK:
            data = await _read(body, pieces)
            await _begin(exchange, response)
            await response.write(data)
            exchange.note.sent += len(data)
            return
        await _begin(exchange, response)
        with _way_out(exchange.request.transport, exchange.note, turns) as way:
            if body.is_whole:
                way.hold()
            await _flush_head(exchange.request)
            if body.is_whole or _ends_with(body, pieces):
                await _send_all(way, body, pieces)
                return
            pieces, held = split_end(pieces, HOLD_BACK)
            await _send_all(way, body, pieces)
            end = await _read(body, held)
            await body.verified()
            await way.send_bytes(end)


def _ends_with(body: Body, pieces: Sequence[Piece]) -> bool:
    """Tell whether the last bytes of `pieces` are those that the body itself holds back."""
    match pieces[-1]:
        case Span(_, stop):
            return stop == body.size
    return False


async def _send_all(way: Outlet, body: Body, pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, Span):
            await _send_from(way, body, piece)
        else:
            await way.send_bytes(piece)


async def _send_from(way: Outlet, body: Body, span: Span) -> None:
    offset = span.start
    while offset < span.stop:
        end = await _available(body, offset, span.stop)
        try:
            await way.send_file(body, offset, end)
        except StoreFailed:
            await body.doubt()
            raise
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
        data += await _load(body, offset, end)
    return bytes(data)


async def _available(body: Body, offset: int, stop: int) -> int:
    end = min(await body.sendable(offset), stop)
    if end <= offset:
        raise BodyCut("the body ended before its declared length")
    return end


async def _load(body: Body, start: int, stop: int) -> bytes:
    """Return these bytes; a file that does not give them to one reader is not given to the next."""
    try:
        await body.load(start, stop)
        data = os.pread(body.fileno(), stop - start, start)
        if len(data) < stop - start:
            raise StoreFailed("the file is shorter than it was")
    except StoreFailed:
        await body.doubt()
        raise
    return data


async def send_unmeasured(exchange: Exchange, response: web.StreamResponse, body: Body) -> None:
    """Send a body whose length nobody told, in chunks; the last one only once the digest is verified."""
    with whole_or_cut(exchange.note, _cutting(exchange, response)):
        response.enable_chunked_encoding()
        await _begin(exchange, response)
        offset = 0
        while (end := await body.sendable(offset)) > offset:
            stop = min(end, offset + CHUNK)
            data = await _load(body, offset, stop)
            async with asyncio.timeout(outlet.STALL_SECONDS):
                await response.write(data)
            exchange.note.sent += stop - offset
            offset = stop
        await response.write_eof()


async def _begin(exchange: Exchange, response: web.StreamResponse) -> None:
    await response.prepare(exchange.request)
    exchange.note.status = response.status


@contextmanager
def whole_or_cut(note: RequestFinished, cut: Callable[[], None]) -> Iterator[None]:
    """Have a body that is not sent whole `cut`, and note why."""
    try:
        yield
    except (MirrorError, OSError, TimeoutError) as error:
        cut()
        note.cause = _why(error)
        if isinstance(error, MirrorError):
            note.outcome = Outcome.ERROR
    except BaseException:
        cut()
        raise


def _cutting(exchange: Exchange, response: web.StreamResponse) -> Callable[[], None]:
    def cut() -> None:
        response.force_close()
        if exchange.request.transport is not None:
            exchange.request.transport.abort()

    return cut


def _why(error: Exception) -> str:
    match error:
        case MirrorError():
            return f"body cut: {error}"
        case ConnectionError():
            return "the client went away"
        case TimeoutError():
            return f"the client took nothing for {outlet.STALL_SECONDS:.0f} s"
    return f"body cut: {type(error).__name__}"


@contextmanager
def _way_out(transport: asyncio.Transport | None, note: RequestFinished, turns: Turns) -> Iterator[Outlet]:
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    way = Outlet(transport, turns)
    try:
        yield way
    finally:
        note.sent += way.sent
        way.close()


async def _flush_head(request: web.BaseRequest) -> None:
    """Wait until the headers have left the transport's buffer, so that nothing overtakes them."""
    assert request.transport is not None  # noqa: S101  # narrowed by _way_out
    request.transport.set_write_buffer_limits(high=0)
    request.writer.send_headers()
    if request.transport.get_write_buffer_size():
        async with asyncio.timeout(outlet.STALL_SECONDS):
            await request.writer.drain()
