"""The public listener: from a request to what it is about, and on to who answers it."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from mirror.oci.error_codes import ErrorCode
from mirror.oci.paths import ApiPath, BlobPath, ManifestPath, Name, Ping, ReferrersPath, TagsPath, parse_path
from mirror.oci.reference import Reference
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.routing import Route, Routing
from mirror.proxy.visibility import Visibility
from mirror.server.blobs import BlobHandler
from mirror.server.circle import Circle
from mirror.server.exchange import Exchange
from mirror.server.manifests import ManifestHandler
from mirror.server.queries import namespace
from mirror.server.referrers import ReferrersHandler
from mirror.server.repeats.again import Again, mark
from mirror.server.tags import TagsHandler


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who answers, once it is known what a request is about."""

    manifests: ManifestHandler
    blobs: BlobHandler
    tags: TagsHandler
    referrers: ReferrersHandler


class RegistryApi:
    """Answers every request of the public listener: the name first, then the registry, who may see it, the content."""

    def __init__(self, routing: Routing, circle: Circle, visibility: Visibility, handlers: Handlers) -> None:
        self._routing = routing
        self._circle = circle
        self._visibility = visibility
        self._handlers = handlers

    async def handle(self, exchange: Exchange) -> web.StreamResponse:
        """Return the answer; raises a MirrorError for what is answered by an error document."""
        if exchange.request.method not in ("GET", "HEAD"):
            return _read_only(exchange)
        if exchange.path == "/healthz":
            return _ready_made(exchange, b'{"status": "ok"}')
        return await self._serve(exchange, parse_path(exchange.path))

    async def _serve(self, exchange: Exchange, path: ApiPath) -> web.StreamResponse:
        match path:
            case Ping():
                return _ready_made(exchange, b"{}")
            case ManifestPath(name, reference):
                route = await self._route(exchange, Kind.MANIFEST, name, reference)
                return await self._handlers.manifests.serve(exchange, route, reference)
            case BlobPath(name, digest):
                route = await self._route(exchange, Kind.BLOB, name, digest)
                return await self._handlers.blobs.serve(exchange, route, digest)
            case TagsPath(name):
                route = await self._route(exchange, Kind.TAGS, name, None)
                return await self._handlers.tags.serve(exchange, route, name)
            case ReferrersPath(name, digest):
                route = await self._route(exchange, Kind.REFERRERS, name, digest)
                return await self._handlers.referrers.serve(exchange, route, digest)

    async def _route(self, exchange: Exchange, kind: Kind, name: Name, reference: Reference | None) -> Route:
        """Return what a request is for, once it is sure that clients may have anything of it."""
        exchange.note.kind = kind
        registry = namespace(exchange.query)
        route = self._routing.route(name, registry, exchange.request.headers.get("Host", ""))
        exchange.note.upstream = route.upstream
        if registry is not None:
            exchange.headers["OCI-Namespace"] = registry
        self._circle.check(exchange)
        await self._visibility.check(route, kind, reference)
        return route


def _ready_made(exchange: Exchange, body: bytes) -> web.Response:
    # Answered here whatever the upstreams do: a client whose ping fails goes elsewhere.
    exchange.headers["Cache-Status"] = "mirror"
    exchange.note.outcome = Outcome.HIT
    return mark(exchange.respond_json(body), Again(exchange.note))


def _read_only(exchange: Exchange) -> web.Response:
    exchange.headers["Allow"] = "GET, HEAD"
    response = exchange.refuse(405, ErrorCode.UNSUPPORTED, "the mirror is read-only")
    response.force_close()
    return response
