"""An Internet of a test's own: hosts under their real names, by TLS, on loopback, and nobody else."""

from __future__ import annotations

import socket
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

from tests.fakes.journal import Journal
from tests.fakes.origin import Origin
from tests.integration.tls import server_context

Kind = TypeVar("Kind", bound=Origin)


class Site(AbstractResolver):
    """The hosts there are. All of them write to one journal; a name that nobody has does not resolve, and is noted.

    `trust` is what a client needs to believe their certificates.
    """

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.journal = journal
        self.strangers: list[str] = []
        self.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._folder = folder
        self._hosts: dict[str, Origin] = {}
        self._ports: dict[str, int] = {}
        self._running = AsyncExitStack()

    def host(self, name: str, kind: type[Kind]) -> Kind:
        """Return a new host of this name and kind; it runs within the context of the site."""
        folder = self._folder / name
        folder.mkdir()
        origin = kind(journal=self.journal, name=name, tls=server_context(folder, names=[name]))
        self.trust.load_verify_locations(folder / "certificate.pem")
        origin.known_as = name
        self._hosts[name] = origin
        self._ports[name] = origin.port
        return origin

    async def late_host(self, name: str, kind: type[Kind]) -> Kind:
        """Return a new host that comes while the site runs."""
        late = self.host(name, kind)
        await self._running.enter_async_context(late)
        return late

    def elsewhere(self, name: str, port: int) -> None:
        """Give this name to what listens at a port and is none of ours."""
        self._ports[name] = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return where a host listens; its port is not the one of the address."""
        found = self._ports.get(host)
        if found is None:
            self.strangers.append(host)
            raise OSError(socket.EAI_NONAME, "nobody has this name")
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=found,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """A client's resolver is closed with the client; the site goes on."""

    async def __aenter__(self) -> Self:
        for origin in self._hosts.values():
            await self._running.enter_async_context(origin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()
