"""`/v2/<name>/tags/list`: HEAD and GET, page by page."""

from __future__ import annotations

import json

from aiohttp import web

from mirror.oci.paging import PageAsked
from mirror.oci.paths import Name
from mirror.proxy.pull_listing import PullListing
from mirror.proxy.routing import Route
from mirror.server.dated import dated, record
from mirror.server.exchange import Exchange
from mirror.server.queries import namespace


class TagsHandler:
    """Answers requests for the tags of a repository: pages of one list, whatever pages upstream gave it in."""

    def __init__(self, pull: PullListing) -> None:
        self._pull = pull

    async def serve(self, exchange: Exchange, route: Route, name: Name) -> web.Response:
        """Return the answer, with a Link to the next page if there is one; a 304 where the client has it.

        Raises InvalidPage.
        """
        asked = PageAsked.parse(exchange.query)
        pulled = await self._pull.tags(route)
        record(exchange, pulled.status, pulled.trouble)
        page = asked.cut(pulled.entries)
        headers = {"Content-Type": "application/json", **dated(pulled.status, pulled.age)}
        if not page.is_last:
            following = asked.behind(page, namespace(exchange.query))
            headers["Link"] = f'<{exchange.path}?{following}>; rel="next"'
        # The name is the client's, as the path is: it may hold the registry, or lack what is added for upstream.
        return exchange.respond_unless_held(json.dumps({"name": name.whole, "tags": page.tags}).encode(), headers)
