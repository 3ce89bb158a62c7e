"""What a clause is held against: a mirror, its upstream, and a repository to fill."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.fakes.content import FakeBlob, FakeImage, FakeIndex, FakeManifest
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.integration.asking import check_cache_status
from tests.integration.conftest import RunningMirror


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the mirror; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """The mirror and the registry behind it; paths are relative to `/v2/<repository>/`."""

    registry: FakeRegistry
    mirror: RunningMirror
    repository: str = ""

    def with_repository(self, name: str) -> Site:
        """Return the same site with another repository, which is empty and may be asked for anything."""
        self.registry.absent(f"/v2/{name}/*")
        return replace(self, repository=name)

    def add(self, content: FakeImage | FakeIndex | FakeManifest | FakeBlob, tag: str | None = None) -> str:
        """Have upstream hold this, and return its digest."""
        match content:
            case FakeImage() | FakeIndex():
                self.registry.add_image(self.repository, tag, content)
            case FakeManifest():
                self.registry.put_manifest(self.repository, content, tag)
            case FakeBlob():
                self.registry.put_blob(self.repository, content)
        return content.digest

    def spoil(self, path: str, *faults: Fault, method: str | None = None) -> None:
        """Spoil every answer of upstream to this path from now on."""
        self.registry.always(self.at(path), *faults, method=method)

    def at(self, path: str) -> str:
        """The whole path of an endpoint."""
        return f"/v2/{self.repository}/{path}"

    async def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Ask for something of the repository; underscores in header names stand for hyphens."""
        return await self.ask(self.at(path), method, **headers)

    async def head(self, path: str, **headers: str) -> Reply:
        """Ask for something of the repository by HEAD."""
        return await self.get(path, "HEAD", **headers)

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Ask for a whole path, or path and query."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        response, body = await self.mirror.get(path, method, headers=fields)
        check_cache_status(response.headers["Cache-Status"])
        return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, body)

    def asked(self, path: str = "*", method: str | None = None) -> int:
        """How often upstream was asked for this path of the repository (a pattern)."""
        return self.registry.journal.count(method, self.at(path))
