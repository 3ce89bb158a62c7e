"""Walking through a list that upstream gives page by page: all of it, or an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import aiohttp
from yarl import URL

from mirror.errors import Refused, UpstreamInvalid
from mirror.proxy.deadline import answer_within
from mirror.upstream.answers import RegistryRequest, read_capped
from mirror.upstream.endpoint import Endpoint
from mirror.upstream.link import next_target
from mirror.upstream.origin import origin_of

MOST_PAGES = 2000


@dataclass(frozen=True, slots=True)
class Walk:
    """How to go: each page within so many `seconds`, all of them at most `limit` bytes.

    `parse` returns what a page of this content type lists, or raises UpstreamInvalid; `received` counts bytes.
    """

    seconds: float
    limit: int
    parse: Callable[[str, bytes], list[str]]
    received: Callable[[int], None]

    async def through(self, endpoint: Endpoint, request: RegistryRequest) -> list[str]:
        """Return what is listed on all pages, the first of which `request` asks for.

        Raises Refused if upstream refuses the first, UpstreamUnavailable for whatever goes wrong later.
        """
        listed: list[str] = []
        asked: set[str] = set()
        size = 0
        query: str | None = request.query
        while query is not None:
            if query in asked or len(asked) == MOST_PAGES:
                raise UpstreamInvalid("upstream's list has no end")
            page = replace(request, query=query)
            response, data = await self._fetched(endpoint, page, is_first=not asked)
            asked.add(query)
            size += len(data)
            if size > self.limit:
                raise UpstreamInvalid(f"upstream's list has more than {self.limit} bytes")
            listed += self.parse(response.headers.get("Content-Type", ""), data)
            query = _next_query(response, endpoint.origin, page)
        return listed

    async def _fetched(
        self, endpoint: Endpoint, request: RegistryRequest, *, is_first: bool
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        try:
            async with answer_within(self.seconds):
                response = await endpoint.request(request)
                data = await read_capped(response, self.limit)
        except Refused as error:
            if is_first:
                raise
            raise UpstreamInvalid("upstream begins a list and then refuses the rest") from error
        self.received(len(data))
        return response, data


def _next_query(response: aiohttp.ClientResponse, origin: URL, request: RegistryRequest) -> str | None:
    """Return the query of the next page, None on the last one.

    Nothing but the query is taken from a Link: where to ask is not for upstream to say. One that leads to another
    origin or another list is an error.
    """
    target = next_target(response.headers.getall("Link", []))
    if target is None:
        return None
    try:
        url = response.url.join(URL(target, encoded=True))
        is_ours = origin_of(url) in (origin, origin_of(response.url)) and url.path.endswith(f"/{request.path}")
        query = url.raw_query_string
    except (ValueError, IndexError):  # yarl raises the latter for "//[]@"
        is_ours, query = False, ""
    if not is_ours or not query.isascii() or not query.isprintable() or " " in query:
        raise UpstreamInvalid("upstream's list goes on somewhere else")
    return query
