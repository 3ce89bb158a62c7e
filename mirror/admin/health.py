"""`/livez` and `/readyz`. Neither depends on an upstream: one outage must not take every replica away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether hits can be served, and what is not as it should be."""

    ready: bool
    degraded: list[str] = field(default_factory=list)


Probe = Callable[[], Awaitable[Readiness]]


async def live(_: web.Request) -> web.Response:
    """Answer that the loop answers."""
    return web.json_response({"status": "ok"})


def ready(probe: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers 200 while `probe` says ready, else 503; the body says what is degraded."""

    async def handle(_: web.Request) -> web.Response:
        readiness = await probe()
        status = "ready" if readiness.ready else "not ready"
        body = {"status": status, "degraded": readiness.degraded}
        return web.json_response(body, status=200 if readiness.ready else 503)

    return handle
