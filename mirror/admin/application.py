"""The admin listener's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from mirror.admin.api import Api
from mirror.admin.health import Probe, live, ready
from mirror.admin.index import index, nameless, unknown
from mirror.admin.warming import WarmingApi

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def admin_application(registry: CollectorRegistry, probe: Probe, warming: WarmingApi, api: Api) -> web.Application:
    """Return the application that operators and Prometheus talk to."""
    application = web.Application()
    application.add_routes(
        [
            web.get("/livez", live),
            web.get("/readyz", ready(probe)),
            web.get("/metrics", metrics(registry, probe)),
            *warming.routes(),
            *api.routes(),
            web.get("/", index),
            web.get("/{path:.+}", unknown),
        ]
    )
    application.on_response_prepare.append(nameless)
    return application


def metrics(registry: CollectorRegistry, probe: Probe) -> Handler:
    """Return a handler that answers with all metrics; what they say of readiness is true at that moment."""
    page = make_aiohttp_handler(registry)

    async def handle(request: web.Request) -> web.StreamResponse:
        # Counted when it is asked for. A disk that hangs makes the scrape hang: such a mirror is down.
        await probe()
        return await page(request)

    return handle
