"""`POST /api/v1/warm`: images are fetched into the cache while the caller listens, one JSON document a line.

Lines are of three kinds: `progress`, twice a second, of the images under way; `image`, how it went with one; `end`,
the last one. A stream without it was cut. A caller who leaves ends it: what is on its way comes, nothing else begins.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from mirror.admin import documents
from mirror.admin.guard import Guard
from mirror.errors import Busy, InvalidName, InvalidPlatform, MirrorError, RequestError
from mirror.oci.platforms import Platforms
from mirror.proxy.tasks import cancelled
from mirror.proxy.warming.batch import Batch
from mirror.proxy.warming.warm import Warm
from mirror.proxy.warming.warmth import Wanted, Warmed, Warmth

MOST_IMAGES = 1000
"""Images in one call."""

MOST_CALLS = 4
"""Calls at a time; each has a few images under way."""

TOLD_SECONDS = 0.5
"""How often a caller hears how far it is; also how soon it is noticed that one has left."""

_LARGEST = 512 * 1024
# Bytes of a request body: as many names as there may be, of the longest kind.


@dataclass(frozen=True, slots=True)
class _Call:
    """What a caller wants."""

    images: tuple[str, ...]
    platforms: Platforms

    def wanted(self) -> list[Wanted]:
        return [Wanted(image, self.platforms) for image in self.images]


class WarmingApi:
    """Warms images for callers; those who name no platforms get the `usual` ones."""

    def __init__(self, warm: Warm, usual: Platforms, guard: Guard) -> None:
        self._warm = warm
        self._usual = usual
        self._guard = guard
        self._calls = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post("/api/v1/warm", self._guard.changing(self._handle))]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            call = await self._call(request)
            if self._calls >= MOST_CALLS:
                raise Busy(f"{MOST_CALLS} callers have images warmed already: wait for one to end")
        except MirrorError as error:
            return documents.problem_of(error)
        self._calls += 1
        try:
            return await self._answer(request, call)
        finally:
            self._calls -= 1

    async def _call(self, request: web.Request) -> _Call:
        """Return what is wanted; raises RequestError."""
        data = await request.content.read(_LARGEST + 1)
        while len(data) <= _LARGEST and (more := await request.content.read(_LARGEST + 1)):
            data += more
        try:
            document = json.loads(data) if len(data) <= _LARGEST else None
        except (ValueError, RecursionError):
            document = None
        match document:
            case {"images": list(images), **rest} if images and all(isinstance(image, str) for image in images):
                pass
            case _:
                raise InvalidName('the body is {"images": ["NAME", …], "platforms": ["linux/amd64", …]}')
        if len(images) > MOST_IMAGES:
            raise RequestError(f"at most {MOST_IMAGES} images at a time")
        return _Call(tuple(dict.fromkeys(images)), self._platforms(rest.get("platforms")))

    def _platforms(self, given: Any) -> Platforms:
        if given is None:
            return self._usual
        if not isinstance(given, list) or not all(isinstance(platform, str) for platform in given):
            raise InvalidPlatform("platforms are a list of names")
        return Platforms.parse(given)

    async def _answer(self, request: web.Request, call: _Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        batch = Batch(self._warm)
        news: list[Warmed] = []
        running = asyncio.create_task(batch.run(call.wanted(), news.append))
        try:
            counts = await _told(response, batch, news, running)
            await response.write(_line({"event": "end", **counts}))
            await response.write_eof()
        except ConnectionError:
            # The caller has left.
            pass
        finally:
            await cancelled(running)
        return response


async def _told(
    response: web.StreamResponse, batch: Batch, news: list[Warmed], running: asyncio.Task[None]
) -> dict[str, int]:
    """Tell the caller what there is to tell until all is done; return how many images ended how, and what came."""
    counts: Counter[str] = Counter(dict.fromkeys([*Warmth, "fetched_bytes"], 0))
    while True:
        await asyncio.wait({running}, timeout=TOLD_SECONDS)
        while news:
            warmed = news.pop(0)
            counts.update({str(warmed.warmth): 1, "fetched_bytes": warmed.fetched})
            await response.write(_line(documents.warmed(warmed)))
        if running.done():
            running.result()
            return {str(key): count for key, count in counts.items()}
        await response.write(_line(documents.warming(batch.under_way)))


def _line(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"
