"""The public listener: from a request to what it is about, and on to who answers it."""

from __future__ import annotations

from urllib.parse import parse_qs

from aiohttp import web

from mirror.errors import UnknownRegistry
from mirror.oci.error_codes import ErrorCode
from mirror.oci.paths import BlobPath, ManifestPath, Name, Ping, parse_path
from mirror.oci.reference import Reference
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.routing import Route, Routing
from mirror.proxy.visibility import Visibility
from mirror.server.blobs import BlobHandler
from mirror.server.exchange import Exchange
from mirror.server.manifests import ManifestHandler


class RegistryApi:
    """Answers every request of the public listener: the name first, then the registry, who may see it, the content."""

    def __init__(
        self, routing: Routing, visibility: Visibility, manifests: ManifestHandler, blobs: BlobHandler
    ) -> None:
        self._routing = routing
        self._visibility = visibility
        self._manifests = manifests
        self._blobs = blobs

    async def handle(self, exchange: Exchange) -> web.StreamResponse:
        """Return the answer; raises a MirrorError for what is answered by an error document."""
        if exchange.request.method not in ("GET", "HEAD"):
            return _read_only(exchange)
        path, _, query = exchange.request.raw_path.partition("?")
        if path == "/healthz":
            return _ready_made(exchange, b'{"status": "ok"}')
        match parse_path(path):
            case Ping():
                return _ready_made(exchange, b"{}")
            case ManifestPath(name, reference):
                route = await self._route(exchange, Kind.MANIFEST, name, query, reference)
                return await self._manifests.serve(exchange, route, reference)
            case BlobPath(name, digest):
                route = await self._route(exchange, Kind.BLOB, name, query, digest)
                return await self._blobs.serve(exchange, route, digest)

    async def _route(self, exchange: Exchange, kind: Kind, name: Name, query: str, reference: Reference) -> Route:
        """Return what a request is for, once it is sure that clients may have anything of it."""
        exchange.note.kind = kind
        registry = namespace(query)
        route = self._routing.route(name, registry, exchange.request.headers.get("Host", ""))
        exchange.note.upstream = route.upstream
        if registry is not None:
            exchange.headers["OCI-Namespace"] = registry
        await self._visibility.check(route, kind, reference)
        return route


def namespace(query: str) -> str | None:
    """Return the `ns` parameter; raises UnknownRegistry if there are several, which would be several answers."""
    values = parse_qs(query, keep_blank_values=True).get("ns", [])
    if len(values) > 1:
        raise UnknownRegistry("ns is given more than once")
    return values[0] if values else None


def _ready_made(exchange: Exchange, body: bytes) -> web.Response:
    # Answered here whatever the upstreams do: a client whose ping fails goes elsewhere.
    exchange.headers["Cache-Status"] = "mirror"
    exchange.note.outcome = Outcome.HIT
    return exchange.respond_json(body)


def _read_only(exchange: Exchange) -> web.Response:
    exchange.headers["Allow"] = "GET, HEAD"
    response = exchange.refuse(405, ErrorCode.UNSUPPORTED, "the mirror is read-only")
    response.force_close()
    return response
