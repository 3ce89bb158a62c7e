"""`/api/v1/…`: what is cached, pins and purges, in JSON; the commands use it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from mirror import errors
from mirror.admin import documents
from mirror.admin.documents import problem
from mirror.admin.guard import Guard, Handler
from mirror.errors import MirrorError
from mirror.proxy.operations.inspection import Inspection
from mirror.proxy.operations.naming import FullName, Naming, former_image, former_repository
from mirror.proxy.operations.pins import Pinning
from mirror.proxy.operations.purge import Purge

T = TypeVar("T")
N = TypeVar("N")

_LARGEST = 16 * 1024
# Bytes of a request body, which holds one name.


@dataclass(frozen=True, slots=True)
class Operations:
    """What operators can do with the cache."""

    naming: Naming
    inspection: Inspection
    pinning: Pinning
    purge: Purge


class Api:
    """Translates requests into operations, and their results into documents."""

    def __init__(self, operations: Operations, guard: Guard) -> None:
        self._do = operations
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        reading, changing = self._guard.reading, self._guard.changing
        return [
            web.get("/api/v1/images", reading(_told(self._list))),
            web.get("/api/v1/images/{image:.+}", reading(_told(self._show))),
            web.delete("/api/v1/images/{image:.+}", changing(_told(self._purge))),
            web.delete("/api/v1/repositories/{repository:.+}", changing(_told(self._purge_repository))),
            web.get("/api/v1/pins", reading(_told(self._pins))),
            web.post("/api/v1/pins", changing(_told(self._pin))),
            web.delete("/api/v1/pins/{image:.+}", changing(_told(self._unpin))),
            web.route("*", "/api{rest:(/.*)?}", reading(_unknown)),
        ]

    async def _list(self, request: web.Request) -> Any:
        wanted = request.query.get("filter", "")
        found = [documents.image(image) for image in await self._do.inspection.images() if wanted in str(image.name)]
        waiting = [str(name) for name in await self._do.pinning.waiting() if wanted in str(name)]
        return {"images": found, "pins_not_cached": sorted(waiting)}

    async def _show(self, request: web.Request) -> Any:
        return documents.shown(await self._of_image(request, self._do.inspection.show))

    async def _purge(self, request: web.Request) -> Any:
        return documents.purged(await self._of_image(request, self._do.purge.image))

    async def _purge_repository(self, request: web.Request) -> Any:
        text, call = request.match_info["repository"], self._do.purge.repository
        return documents.purged(await _of(text, self._do.naming.repository, former_repository, call))

    async def _pins(self, _: web.Request) -> Any:
        return documents.pins(await self._do.pinning.pinned())

    async def _pin(self, request: web.Request) -> Any:
        name = self._do.naming.image(await _image_in(request))
        return {"image": str(name), "pinned": True, "cached": await self._do.pinning.pin(name)}

    async def _unpin(self, request: web.Request) -> Any:
        return {"image": str(await self._of_image(request, self._do.pinning.unpin)), "pinned": False}

    async def _of_image(self, request: web.Request, call: Callable[[FullName], Awaitable[T]]) -> T:
        """Return what `call` makes of the image that is named."""
        return await _of(request.match_info["image"], self._do.naming.image, former_image, call)


async def _of(
    text: str, named: Callable[[str], N], formerly: Callable[[str], N], call: Callable[[N], Awaitable[T]]
) -> T:
    """Return what `call` makes of what is named; of a registry that is not configured any more, of what is left.

    Raises UnknownRegistry where nothing is.
    """
    try:
        name = named(text)
    except errors.UnknownRegistry as unknown:
        try:
            return await call(formerly(text))
        except (errors.NotCached, errors.NotPinned):
            raise unknown from None
    return await call(name)


async def _image_in(request: web.Request) -> str:
    """Return the name in the body of a request; raises RequestError."""
    data = await request.content.read(_LARGEST + 1)
    try:
        name = json.loads(data)["image"] if len(data) <= _LARGEST else None
    except (ValueError, KeyError, TypeError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise errors.InvalidName('the body is {"image": "NAME"}')
    return name


def _told(call: Callable[[web.Request], Awaitable[Any]]) -> Handler:
    """Return a handler that answers with what `call` returns, or with what went wrong."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(await call(request))
        except MirrorError as error:
            return documents.problem_of(error)

    return handle


async def _unknown(_: web.Request) -> web.StreamResponse:
    return problem(404, "unknown-path", "there is no such path, or not with this method")
