"""The body of a blob on its way from an upstream (see interfaces.Transfer)."""

from __future__ import annotations

import aiohttp

from mirror.proxy.events import Observer, UpstreamReceived
from mirror.upstream.egress import translated


class ResponseTransfer:
    """Reads the body of a response; how much it should be is upstream's word, checked by whoever reads."""

    def __init__(self, response: aiohttp.ClientResponse, upstream: str, observer: Observer) -> None:
        self._response = response
        self._upstream = upstream
        self._observer = observer

    @property
    def size(self) -> int | None:
        """The Content-Length, None without one."""
        return self._response.content_length

    async def read(self) -> bytes:
        """Return what has arrived, waiting for at least one byte; empty at the end."""
        with translated(self._response.url):
            data = await self._response.content.readany()
        if data:
            self._observer.notify(UpstreamReceived(self._upstream, len(data)))
        return data

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._response.release()
