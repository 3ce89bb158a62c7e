"""`/v2/<name>/referrers/<digest>`: HEAD and GET, filtered by artifact type."""

from __future__ import annotations

from aiohttp import web

from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX
from mirror.oci.referrers import of_types, render, types_asked
from mirror.proxy.pull_listing import PullListing
from mirror.proxy.routing import Route
from mirror.server.dated import dated, record
from mirror.server.exchange import Exchange


class ReferrersHandler:
    """Answers requests for what refers to a manifest."""

    def __init__(self, pull: PullListing) -> None:
        self._pull = pull

    async def serve(self, exchange: Exchange, route: Route, digest: Digest) -> web.Response:
        """Return the answer: an image index, of no referrers if there are none; a 304 where the client has it."""
        types = types_asked(exchange.query)
        pulled = await self._pull.referrers(route, digest)
        record(exchange, pulled.status, pulled.trouble)
        headers = {"Content-Type": OCI_INDEX, **dated(pulled.status, pulled.age)}
        if not types:
            return exchange.respond_unless_held(render(pulled.entries), headers)
        headers["OCI-Filters-Applied"] = "artifactType"
        return exchange.respond_unless_held(render(of_types(pulled.entries, types)), headers)
