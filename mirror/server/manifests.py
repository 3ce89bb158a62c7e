"""`/v2/<name>/manifests/<reference>`: HEAD and GET."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from mirror.oci.accept import accepted_types
from mirror.oci.digest import Digest
from mirror.oci.reference import Tag
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import PulledManifest
from mirror.proxy.routing import Route
from mirror.server.conditions import Verdict, etag_of, judge
from mirror.server.dated import dated, record
from mirror.server.exchange import Exchange
from mirror.server.repeats.again import Again, mark


class ManifestHandler:
    """Answers requests for manifests; a HEAD is a GET without its body."""

    def __init__(
        self,
        pull: PullManifest,
        served: Callable[[Route, Tag, int], None],
        given: Callable[[Route, PulledManifest], None],
        is_open: Callable[[Route], bool],
    ) -> None:
        """`served` hears of tags that clients were served, and how often, `given` of manifests whose bodies they got.

        `is_open` tells whether all of a repository is served now, without asking its registry.
        """
        self._pull = pull
        self._is_open = is_open
        self._served = served
        self._given = given

    async def serve(self, exchange: Exchange, route: Route, reference: Tag | Digest) -> web.Response:
        """Return the answer; a 304 where the client has it."""
        headers = exchange.request.headers
        pulled = await self._pull.pull(route, reference, accepted_types(headers.getall("Accept", ())))
        record(exchange, pulled.status, pulled.trouble)
        verdict = judge(headers, etag_of(pulled.manifest.digest))
        has_body = verdict is Verdict.SEND and not exchange.is_head

        def told(times: int) -> None:
            if isinstance(reference, Tag):
                self._served(route, reference, times)
            if has_body:
                self._given(route, pulled)

        told(1)
        if verdict is Verdict.SEND:
            answer = exchange.respond(pulled.manifest.data, _headers(pulled))
        else:
            answer = exchange.respond_without(verdict, _headers(pulled))
        if (standing := pulled.standing) is not None:
            mark(answer, Again(exchange.note, lambda: self._is_open(route) and standing.holds(), standing.age, told))
        return answer


def _headers(pulled: PulledManifest) -> dict[str, str]:
    headers = {
        "Content-Type": pulled.manifest.media_type,
        "Docker-Content-Digest": str(pulled.manifest.digest),
        "ETag": etag_of(pulled.manifest.digest),
    }
    if pulled.age is not None:
        headers |= {"Vary": "Accept", **dated(pulled.status, pulled.age)}
    return headers
