"""`/v2/<name>/blobs/<digest>`: HEAD and GET, whole and in part."""

from __future__ import annotations

from aiohttp import web

from mirror.oci.digest import Digest
from mirror.proxy.interfaces import Body
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.routing import Route
from mirror.server.body import send_span, send_unmeasured
from mirror.server.conditions import Verdict, etag_of, judge
from mirror.server.exchange import Exchange
from mirror.server.ranges import Span, parse_range


class BlobHandler:
    """Answers requests for blobs."""

    def __init__(self, pull: PullBlob) -> None:
        self._pull = pull

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
            return await _send(exchange, digest, pulled.body)
        finally:
            pulled.body.close()

    async def _head(self, exchange: Exchange, route: Route, digest: Digest) -> web.Response:
        head = await self._pull.head(route, digest)
        exchange.record(head.status)
        response = exchange.respond(b"", _headers(digest))
        if head.size is not None:
            response.headers["Content-Length"] = str(head.size)
        return response


def _headers(digest: Digest) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "ETag": etag_of(digest),
        "Accept-Ranges": "bytes",
    }


async def _send(exchange: Exchange, digest: Digest, body: Body) -> web.StreamResponse:
    response = exchange.stream(_headers(digest))
    size = body.size
    if size is None and exchange.request.version < (1, 1):
        size = await _whole(body)
    if size is None:
        await send_unmeasured(exchange, response, body)
        return response
    span = _asked(exchange.request, digest, size)
    if span is not None:
        response.set_status(206)
        response.headers["Content-Range"] = span.content_range(size)
    span = span or Span(0, size)
    response.content_length = span.stop - span.start
    await send_span(exchange, response, body, span)
    return response


def _asked(request: web.BaseRequest, digest: Digest, size: int) -> Span | None:
    header = request.headers.get("Range")
    if header is None or request.headers.get("If-Range", etag_of(digest)) != etag_of(digest):
        return None
    return parse_range(header, size)


async def _whole(body: Body) -> int:
    """Wait for the end: HTTP/1.0 has no chunks, so its clients could not tell a cut from the end."""
    offset = 0
    while (end := await body.sendable(offset)) > offset:
        offset = end
    return offset
