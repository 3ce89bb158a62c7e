"""The admin listener's routes."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from mirror.admin.health import Probe, live, ready


def admin_application(registry: CollectorRegistry, probe: Probe) -> web.Application:
    """Return the application that operators and Prometheus talk to."""
    application = web.Application()
    application.add_routes(
        [
            web.get("/livez", live),
            web.get("/readyz", ready(probe)),
            web.get("/metrics", make_aiohttp_handler(registry)),
        ]
    )
    return application
