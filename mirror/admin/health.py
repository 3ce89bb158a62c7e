"""`/livez` and `/readyz`. Neither depends on an upstream: one outage must not take every replica away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from mirror.proxy.readiness import Readiness, Trouble

Probe = Callable[[], Awaitable[Readiness]]

_SENTENCES = {
    Trouble.STOPPING: "shutting down",
    Trouble.UNREADABLE: "the cache cannot be read",
    Trouble.HANDLES_SHORT: "too many files are open: what is not in memory has to wait",
    Trouble.UNWRITABLE: "the disk takes no new files",
    Trouble.DISK_SHORT: "less of the disk is free than cache.min_free: what is new is not kept",
    Trouble.PINS_CROWDING: "pinned images take more than 90 % of cache.max_size: little of what is new is kept",
}


def _of(upstream: str, readiness: Readiness) -> str:
    if upstream in readiness.unreachable:
        return f"no endpoint of {upstream} answers: nothing new can be pulled"
    return f"an endpoint of {upstream} does not answer"


async def live(_: web.Request) -> web.Response:
    """Answer that the loop answers."""
    return web.json_response({"status": "ok"})


def ready(probe: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers 200 while `probe` says ready, else 503; the body says what is degraded."""

    async def handle(_: web.Request) -> web.Response:
        readiness = await probe()
        status = "ready" if readiness.ready else "not ready"
        degraded = [_SENTENCES[trouble] for trouble in readiness.troubles]
        degraded += [_of(upstream, readiness) for upstream in readiness.upstreams]
        body = {"status": status, "degraded": degraded}
        return web.json_response(body, status=200 if readiness.ready else 503)

    return handle
