"""Files at rest for a scrub: in no folder, each with what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mirror.errors import MirrorError, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.routing import Route
from mirror.proxy.scrubbing.scrub import Leftover, Problem, StoredFile


def files(count: int, size: int = 100) -> list[StoredFile]:
    """That many files, in the order in which they are examined."""
    digests = sorted((Digest.of(bytes([number])) for number in range(count)), key=str)
    return [StoredFile(digest, size, Kind.BLOB) for digest in digests]


@dataclass
class MemoryExamined:
    """One file under examination."""

    inventory: MemoryInventory
    digest: Digest
    problem: Problem | None
    detail: str = ""

    async def remove(self) -> bool:
        if self.inventory.is_read_only:
            raise StoreFailed("the disk refused: Read-only file system")
        if self.digest in self.inventory.replaced:
            return False
        self.inventory.removed.append(self.digest)
        return True


@dataclass
class MemoryInventory:
    """What a scrub sees (see scrub.Inventory), and what it did."""

    listed: list[StoredFile]
    problems: dict[Digest, Problem] = field(default_factory=dict)
    known: dict[Digest, list[Route]] = field(default_factory=dict)
    replaced: set[Digest] = field(default_factory=set)
    is_read_only: bool = False
    on_listing: Callable[[], None] = lambda: None
    seconds: float = 0.0
    """How long each file takes."""
    examined: list[Digest] = field(default_factory=list)
    how: list[tuple[bool, int | None]] = field(default_factory=list)
    removed: list[Digest] = field(default_factory=list)

    async def files(self) -> list[StoredFile]:
        self.on_listing()
        return list(self.listed)

    @asynccontextmanager
    async def examine(self, file: StoredFile, *, fast: bool, bandwidth: int | None) -> AsyncIterator[MemoryExamined]:
        await asyncio.sleep(self.seconds)
        self.examined.append(file.digest)
        self.how.append((fast, bandwidth))
        yield MemoryExamined(self, file.digest, self.problems.get(file.digest))

    async def strangers(self) -> list[str]:
        return ["notes.txt"]

    async def unfinished(self) -> list[Leftover]:
        return [Leftover("sha256-0", 5, is_written=False)]

    async def routes(self, digest: Digest) -> list[Route]:
        # What is said of a file that is gone is forgotten.
        return [] if digest in self.removed else self.known.get(digest, [])


class ScriptedFetch:
    """Fetches what it is told to, and notes through which repositories it was asked."""

    def __init__(self, *steps: MirrorError | None) -> None:
        self._steps = list(steps)
        self.asked: list[tuple[Route, Kind]] = []

    async def __call__(self, route: Route, kind: Kind, digest: Digest) -> None:
        self.asked.append((route, kind))
        if error := self._steps.pop(0):
            raise error
