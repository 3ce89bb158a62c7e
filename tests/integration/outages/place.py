"""An upstream of a mirror: a registry that wants tokens, its token service, and an image that is there."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from tests.fakes import content
from tests.fakes.auth import TokenAuth
from tests.fakes.content import FakeImage
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.tls import server_context

REPOSITORY = "library/app"
TAG = "1.0"


class Names(AbstractResolver):
    """All names are those of this machine, except those that are gone."""

    def __init__(self) -> None:
        self.gone: set[str] = set()

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        if host in self.gone:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0),
        ]

    async def close(self) -> None:
        pass


@dataclass
class Place:
    """One upstream, called `name`; its `spare` is a second endpoint that has the same content."""

    name: str
    names: Names
    folder: Path
    is_named: bool = False
    has_tls: bool = False
    has_spare: bool = False
    journal: Journal = field(default_factory=Journal)
    registry: FakeRegistry = field(init=False)
    spare: FakeRegistry = field(init=False)
    tokens: FakeTokenService = field(init=False)
    image: FakeImage = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        tls = server_context(self.folder) if self.has_tls else None
        self.tokens = FakeTokenService(self.journal, tls=tls)
        self.registry = FakeRegistry(self.journal, TokenAuth(self.tokens), tls=tls)
        self.spare = FakeRegistry(self.journal, name="spare")
        self.image = content.image(layers=1, size=1000, seed=self.name)
        for registry in (self.registry, self.spare):
            registry.add_image(REPOSITORY, TAG, self.image)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have all of it listen."""
        async with self.registry, self.tokens, self.spare:
            yield

    @property
    def host(self) -> str:
        return f"registry.{self.name}" if self.is_named else "127.0.0.1"

    @property
    def config(self) -> dict[str, Any]:
        """What a mirror's configuration says of it."""
        scheme = "https" if self.has_tls else "http"
        url = f"{scheme}://{self.host}:{self.registry.port}"
        first = {"url": url, "ca_file": str(self.folder / "certificate.pem")} if self.has_tls else url
        spare = [self.spare.url] if self.has_spare else []
        return {"endpoints": [first, *spare], "realms": [self.tokens.url], "private_network": True, "read_ahead": False}

    def heal(self) -> None:
        """Let whoever still waits have an answer."""
        self.registry.resume()
        self.tokens.resume()

    async def cut(self) -> None:
        """Break all connections: whoever comes next has to make a new one."""
        await self.registry.stop()
        await self.registry.start()
