"""Connections that somebody else has accepted, with aiohttp's server behind them."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web


class HandedConnections:
    """Serves on each connection that it is handed."""

    address = "handed over"

    def __init__(self, runner: web.BaseRunner) -> None:
        self._runner = runner
        self._welcomed: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Be ready for connections."""
        await self._runner.setup()

    def take(self, descriptor: int) -> None:
        """Serve on this connection, which is closed in the end; at once if nothing is ready for it."""
        connection = socket.socket(fileno=descriptor)
        server = self._runner.server
        if server is None:
            connection.close()
            return
        connection.setblocking(False)
        welcomed = asyncio.create_task(self._welcome(connection, server))
        self._welcomed.add(welcomed)
        welcomed.add_done_callback(self._welcomed.discard)

    @staticmethod
    async def _welcome(connection: socket.socket, server: web.Server) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(server, connection)

    async def stop(self) -> None:
        """Cut what is left, and close everything."""
        await self._runner.cleanup()
