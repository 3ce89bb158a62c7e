"""The requests that are being answered, counted, so that a stop can wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

BareHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Requests:
    """How many there are."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def counted_one(self) -> Iterator[None]:
        """Count one within this context."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if self._count == 0:
                self._none.set()

    def counted(self, handler: BareHandler) -> BareHandler:
        """Return `handler`, counted."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            with self.counted_one():
                return await handler(request)

        return handle

    async def finished(self) -> None:
        """Wait until none is left."""
        await self._none.wait()
