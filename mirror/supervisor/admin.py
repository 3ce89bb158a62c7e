"""The admin listener of all workers: health and metrics of them together; all else is for the one that leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from prometheus_client.aiohttp import make_aiohttp_handler
from yarl import URL

from mirror.admin.documents import problem
from mirror.admin.index import nameless
from mirror.supervisor import health
from mirror.supervisor.crew import Crew
from mirror.supervisor.tally import Tally

_OF_THE_CONNECTION = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}
# Headers that are not passed on.

_CHUNK = 64 * 1024


class Admin:
    """Answers for a crew."""

    def __init__(self, crew: Crew, tally: Tally) -> None:
        self._crew = crew
        self._tally = tally

    def application(self) -> web.Application:
        """Return the application that operators and Prometheus talk to."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
                web.route("*", "/{path:.*}", self._pass_on),
            ]
        )
        application.on_response_prepare.append(nameless)
        return application

    async def _live(self, _: web.Request) -> web.StreamResponse:
        answers = await health.asked(self._crew.serving(), "/livez")
        return _told(*health.liveness(answers, self._crew.curable()))

    async def _ready(self, _: web.Request) -> web.StreamResponse:
        answers = await health.asked(self._crew.serving(), "/readyz")
        return _told(*health.readiness(answers, list(self._crew.empty())))

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        registry = await self._tally.page(self._crew.workers(), self._crew.leaving())
        return await make_aiohttp_handler(registry)(request)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        """Answer what the first worker that serves answers, as it comes."""
        asked = next(iter(self._crew.serving()), None)
        if asked is None:
            return problem(503, "no-worker", "no worker serves at the moment: try again in some seconds")
        url = URL(f"http://worker{request.raw_path}", encoded=True)
        try:
            async with asked.session.request(
                request.method,
                url,
                headers=_passed(request.headers),
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as response:
                return await _relayed(request, response)
        except (aiohttp.ClientError, RuntimeError, OSError):
            return problem(503, "no-worker", "the worker that was asked has ended: try again in some seconds")


async def _relayed(request: web.Request, response: aiohttp.ClientResponse) -> web.StreamResponse:
    answer = web.StreamResponse(status=response.status, reason=response.reason, headers=_passed(response.headers))
    await answer.prepare(request)
    try:
        async for chunk in response.content.iter_any():
            await answer.write(chunk)
        await answer.write_eof()
    except (aiohttp.ClientError, ConnectionError):
        # One side has left in the middle; the other sees a cut, never a whole answer.
        if request.transport is not None:
            request.transport.abort()
    return answer


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION)


def _told(is_well: bool, document: Any) -> web.Response:
    return web.json_response(document, status=200 if is_well else 503)
