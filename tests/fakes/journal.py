"""What the fakes were asked, in order, and what nobody had prepared them for."""

import asyncio
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from tests.fakes.request import Headers, Request

AuthorizationKind = Literal["none", "basic", "bearer", "other"]


@dataclass(slots=True)
class Entry:
    """One request. `status` is None while unanswered, `sent` counts body bytes handed to the socket."""

    host: str
    method: str
    path: str
    query: str
    authorization: AuthorizationKind
    range: str | None
    headers: Headers
    body: bytes = b""
    status: int | None = None
    sent: int = 0
    complete: bool = False

    @property
    def if_range(self) -> str | None:
        return self.header("If-Range")

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def __str__(self) -> str:
        target = f"{self.path}?{self.query}" if self.query else self.path
        notes: list[str] = [self.authorization] if self.authorization != "none" else []
        notes += [self.range] if self.range else []
        notes += [f"if {self.if_range}"] if self.if_range else []
        notes += [] if self.complete else ["unfinished"]
        tail = f" [{', '.join(notes)}]" if notes else ""
        return f"{self.host} {self.method} {target} -> {self.status} {self.sent}B{tail}"


@dataclass
class Journal:
    """The entries of all fakes of a test in the order of arrival; a test fails while `unexpected` is not empty."""

    entries: list[Entry] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, host: str, request: Request) -> Entry:
        entry = Entry(
            host=host,
            method=request.method,
            path=request.path,
            query=request.query,
            authorization=_kind(request.header("Authorization")),
            range=request.header("Range"),
            headers=request.headers,
            body=request.body,
        )
        self.entries.append(entry)
        self._arrived.set()
        return entry

    def object(self, host: str, request: Request, reason: str) -> None:
        """Remember a request that should not have come."""
        self.unexpected.append(f"{host} {request.method} {request.target}: {reason}")

    def expect_unknown(self) -> list[str]:
        """Take what is unexpected so far as wanted: the list is returned and emptied."""
        taken, self.unexpected = self.unexpected, []
        return taken

    def select(
        self,
        method: str | None = None,
        path: str = "*",
        status: int | None = None,
        host: str | None = None,
        authorization: AuthorizationKind | None = None,
    ) -> list[Entry]:
        """The entries that match; `path` is a pattern in which `*` matches slashes too."""
        return [
            entry
            for entry in self.entries
            if fnmatchcase(entry.path, path)
            and method in {None, entry.method}
            and status in {None, entry.status}
            and host in {None, entry.host}
            and authorization in {None, entry.authorization}
        ]

    def count(
        self,
        method: str | None = None,
        path: str = "*",
        status: int | None = None,
        host: str | None = None,
        authorization: AuthorizationKind | None = None,
    ) -> int:
        return len(self.select(method, path, status, host, authorization))

    def body_bytes(self, path: str = "*", host: str | None = None) -> int:
        """Body bytes sent for these paths, all answers together: what shows that no byte was fetched twice."""
        return sum(entry.sent for entry in self.select(path=path, host=host))

    def paths(self, host: str | None = None) -> list[str]:
        """`METHOD path`, in order: the shape to compare a whole story with."""
        return [f"{entry.method} {entry.path}" for entry in self.select(host=host)]

    async def wait_for(
        self,
        count: int = 1,
        method: str | None = None,
        path: str = "*",
        host: str | None = None,
        timeout: float = 45.0,
    ) -> list[Entry]:
        """Wait until that many matching requests have arrived (answered or not)."""
        async with asyncio.timeout(timeout):
            while len(found := self.select(method, path, host=host)) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return found

    def clear(self) -> None:
        """Forget the entries (not what was unexpected)."""
        self.entries.clear()

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in self.entries)


def _kind(header: str | None) -> AuthorizationKind:
    if header is None:
        return "none"
    match header.partition(" ")[0].lower():
        case "basic":
            return "basic"
        case "bearer":
            return "bearer"
        case _:
            return "other"
