"""`/v2/<name>/blobs/<digest>`: HEAD and GET, whole and in part."""

from __future__ import annotations

import functools
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Outcome
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.routing import Route
from mirror.server.body import send_pieces, send_unmeasured
from mirror.server.conditions import Verdict, etag_of, judge
from mirror.server.delivery import Deliveries
from mirror.server.exchange import Exchange
from mirror.server.multipart import Multipart
from mirror.server.pieces import Piece, length_of
from mirror.server.ranges import Span, parse_ranges
from mirror.server.repeats.again import Again, mark
from mirror.server.turns import Turns

_MEDIA_TYPE = "application/octet-stream"


class BlobHandler:
    """Answers requests for blobs."""

    def __init__(self, pull: PullBlob, is_open: Callable[[Route], bool]) -> None:
        """`is_open` tells whether all of a repository is served now, without asking its registry."""
        self._pull = pull
        self._is_open = is_open
        self._turns = Turns()

    async def serve(self, exchange: Exchange, route: Route, digest: Digest) -> web.StreamResponse:
        """Return the answer; its body, if it has one, has been sent or its connection cut."""
        verdict = judge(exchange.request.headers, etag_of(digest))
        if verdict is not Verdict.SEND:
            exchange.record(await self._pull.confirm(route, digest))
            return exchange.respond_without(verdict, _headers(digest))
        if exchange.is_head:
            return await self._head(exchange, route, digest)
        pulled = await self._pull.pull(route, digest)
        try:
            exchange.record(pulled.status)
            response = await _send(exchange, digest, pulled.body, self._turns)
            if pulled.status.outcome is Outcome.HIT and response.status == HTTPStatus.OK:
                self._mark(response, exchange, route, digest, pulled.body.size)
            return response
        finally:
            pulled.body.close()

    async def _head(self, exchange: Exchange, route: Route, digest: Digest) -> web.Response:
        head = await self._pull.head(route, digest)
        exchange.record(head.status)
        response = exchange.respond(b"", _headers(digest))
        if head.size is not None:
            response.headers["Content-Length"] = str(head.size)
        if head.status.outcome is Outcome.HIT:
            self._mark(response, exchange, route, digest, head.size)
        return response

    def _mark(
        self, response: web.StreamResponse, exchange: Exchange, route: Route, digest: Digest, size: int | None
    ) -> None:
        """Say what it takes to answer the same again: the grant, and a file that opens and is as long as it was."""
        if size is None:
            return
        deliveries = Deliveries(
            self._pull.at_hand(route, digest),
            functools.partial(self._pull.hit, route, digest),
            size,
            0 if exchange.is_head else size,
            self._turns,
        )
        mark(response, Again(exchange.note, lambda: self._is_open(route), deliveries=deliveries))


def _headers(digest: Digest) -> dict[str, str]:
    return {
        "Content-Type": _MEDIA_TYPE,
        "Docker-Content-Digest": str(digest),
        "ETag": etag_of(digest),
        "Accept-Ranges": "bytes",
    }


async def _send(exchange: Exchange, digest: Digest, body: Body, turns: Turns) -> web.StreamResponse:
    response = exchange.stream(_headers(digest))
    size = body.size
    if size is None and exchange.request.version < (1, 1):
        size = await _whole(body)
    if size is None:
        await send_unmeasured(exchange, response, body)
        return response
    pieces = _pieces(exchange.request, response, digest, size)
    response.content_length = length_of(pieces)
    await send_pieces(exchange, response, body, pieces, turns)
    return response


def _pieces(request: web.BaseRequest, response: web.StreamResponse, digest: Digest, size: int) -> list[Piece]:
    """Return what is to be sent of a blob of this size, once the head of `response` says what that is."""
    spans = _asked(request, digest, size)
    if spans is None:
        return [Span(0, size)]
    response.set_status(206)
    if len(spans) == 1:
        response.headers["Content-Range"] = spans[0].content_range(size)
        return [*spans]
    multipart = Multipart(spans, size, _MEDIA_TYPE)
    response.headers["Content-Type"] = multipart.content_type
    return [*multipart.pieces()]


def _asked(request: web.BaseRequest, digest: Digest, size: int) -> tuple[Span, ...] | None:
    ranges, etag = request.headers.getall("Range", []), etag_of(digest)
    if not ranges or request.headers.getall("If-Range", [etag]) != [etag]:
        return None
    return parse_ranges(", ".join(ranges), size)


async def _whole(body: Body) -> int:
    """Wait for the end: HTTP/1.0 has no chunks, so its clients could not tell a cut from the end."""
    offset = 0
    while (end := await body.sendable(offset)) > offset:
        offset = end
    return offset
