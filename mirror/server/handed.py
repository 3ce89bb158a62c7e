"""Connections that somebody else has accepted, with aiohttp's server behind them."""

from __future__ import annotations

import socket

from aiohttp import web

from mirror.server.accepting import Arrivals


class HandedConnections:
    """Serves on each connection that it is handed."""

    address = "handed over"

    def __init__(self, runner: web.BaseRunner) -> None:
        self._runner = runner
        self._arrivals = Arrivals()

    async def start(self) -> None:
        """Be ready for connections."""
        await self._runner.setup()

    def take(self, descriptor: int) -> None:
        """Serve on this connection, which is closed in the end; at once if nothing is ready for it."""
        connection = socket.socket(fileno=descriptor)
        if self._runner.server is None:
            connection.close()
        else:
            self._arrivals.take(connection, self._runner.server)

    async def stop(self) -> None:
        """Cut what is left, and close everything."""
        await self._arrivals.settled()
        await self._runner.cleanup()
