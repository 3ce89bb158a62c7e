"""Connections that are opened before there is a question for them: the next questions then wait for no handshake.

They are the client library's own and idle among its others, so what is not used is closed after some seconds.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

import aiohttp
from yarl import URL

from mirror.upstream.origin import origin_of


class Spares:
    """Opens connections for one session, those of one origin at a time; nobody waits for them or hears of a failure."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._opening: dict[URL, asyncio.Task[None]] = {}

    def open(self, url: URL, trust: bool | ssl.SSLContext, count: int) -> None:
        """Have `count` connections to the origin of `url`; the idle ones count that are left once the caller waits."""
        origin = origin_of(url)
        if origin not in self._opening:
            task = asyncio.create_task(self._open(url, trust, count), name=f"spare connections to {origin}")
            self._opening[origin] = task
            task.add_done_callback(lambda _: self._opening.pop(origin))

    async def _open(self, url: URL, trust: bool | ssl.SSLContext, count: int) -> None:
        await asyncio.gather(*(self._open_one(url, trust) for _ in range(count)))

    async def _open_one(self, url: URL, trust: bool | ssl.SSLContext) -> None:
        connector = self._session.connector
        # Never sent: the library asks for one to know where to, and with which certificates.
        request = aiohttp.ClientRequest("GET", url, ssl=trust, session=self._session)
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            if connector is not None:
                connection = await connector.connect(request, [], self._session.timeout)
                try:
                    # An idle one is there at once, and is not to be counted twice.
                    await asyncio.sleep(0)
                finally:
                    connection.release()

    async def close(self) -> None:
        """Open no more."""
        for task in tuple(self._opening.values()):
            task.cancel()
            await asyncio.wait([task])
