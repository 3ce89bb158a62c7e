"""HTTP to a worker: each connection is one end of a pair of sockets, whose other end is sent to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace


class WireConnector(aiohttp.BaseConnector):
    """Opens connections with `connect`, which raises OSError where nobody takes them."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        super().__init__(limit=0)
        self._connect_worker = connect

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        try:
            _, protocol = await asyncio.get_running_loop().create_unix_connection(
                self._factory, sock=self._connect_worker()
            )
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol
