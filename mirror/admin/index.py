"""What there is on the admin listener, for whoever looks."""

from __future__ import annotations

from aiohttp import web

from mirror.admin.documents import problem

PATHS = ("/livez", "/readyz", "/metrics", "/api/v1/images", "/api/v1/pins", "/api/v1/repositories", "/api/v1/warm")


async def index(_: web.Request) -> web.Response:
    """Answer with the paths."""
    return web.json_response({"paths": PATHS})


async def unknown(_: web.Request) -> web.Response:
    """Answer that there is no such path, and who tells which there are."""
    return problem(404, "unknown-path", "there is no such path; / lists those that there are")


async def nameless(_: web.Request, response: web.StreamResponse) -> None:
    """Keep to ourselves what the answer is made with."""
    response.headers["Server"] = "mirror"
