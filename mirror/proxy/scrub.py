"""Scrub, as a story: every stored file against its digest; a bad one is removed, and fetched again if it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from mirror.errors import MirrorError, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.events import FileScrubbed, Observer
from mirror.proxy.routing import Route


class Problem(StrEnum):
    """What can be wrong with a stored file."""

    DAMAGED = "damaged"
    """Its bytes do not have its digest."""
    TRUNCATED = "truncated"
    """It is not as long as it was."""
    UNREADABLE = "unreadable"
    """The disk gives errors instead of its bytes."""


class Action(StrEnum):
    """What was done about it."""

    REFETCHED = "refetched"
    REMOVED = "removed"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A committed file; `size` in bytes."""

    digest: Digest
    size: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Finding:
    """A bad file, and what was done about it; `detail` says why that was not more."""

    file: StoredFile
    problem: Problem
    action: Action
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A partial file of `size` bytes; `is_written` while some process writes it."""

    name: str
    size: int
    is_written: bool


@dataclass
class Report:
    """What a scrub saw; sizes in bytes, `seconds` it took."""

    files: int = 0
    size: int = 0
    findings: list[Finding] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    """Paths in the cache folder of what is not the mirror's; it is left alone."""
    unfinished: list[Leftover] = field(default_factory=list)
    seconds: float = 0.0


class Inventory(Protocol):
    """What is at rest, for a scrub. Raises StoreFailed throughout."""

    async def files(self) -> list[StoredFile]:
        """Return the committed files, in the order of their digests."""

    async def examine(self, file: StoredFile, *, fast: bool, bandwidth: int | None) -> Problem | None:
        """Return what is wrong with a file, None if nothing is or if it is gone.

        `fast` looks at its size only; else it is read with at most `bandwidth` bytes a second.
        """

    async def remove(self, digest: Digest) -> None:
        """Remove the file; readers keep it open."""

    async def strangers(self) -> list[str]:
        """Return what is in the cache folder and not the mirror's."""

    async def unfinished(self) -> list[Leftover]:
        """Return the partial files."""

    async def routes(self, digest: Digest) -> list[Route]:
        """Return the repositories that may serve the digest."""


Fetch = Callable[[Route, Kind, Digest], Awaitable[None]]
"""Fetches a manifest or a blob through a repository into the store; raises MirrorError."""


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How a scrub goes about it: sizes only or all bytes, how many of them a second, and whether it mends."""

    fast: bool = False
    bandwidth: int | None = None
    repairs: bool = True


async def _nothing(_: StoredFile) -> None:
    """What is done after each file, unless somebody wants to know."""


class Scrub:
    """Goes through the store, and has `fetch` bring again what is bad."""

    def __init__(self, inventory: Inventory, fetch: Fetch, observer: Observer) -> None:
        self._inventory = inventory
        self._fetch = fetch
        self._observer = observer

    async def run(
        self,
        thoroughness: Thoroughness,
        after: Digest | None = None,
        passed: Callable[[StoredFile], Awaitable[None]] = _nothing,
    ) -> Report:
        """Examine every file, from the one behind `after` on, and return what was seen and done.

        `passed` is called after each file. Raises StoreFailed if the folder cannot be listed.
        """
        started = asyncio.get_running_loop().time()
        report = Report()
        for file in await self._inventory.files():
            if after is not None and str(file.digest) <= str(after):
                continue
            if finding := await self._examine(file, thoroughness):
                report.findings.append(finding)
            report.files += 1
            report.size += file.size
            await passed(file)
        report.strangers = await self._inventory.strangers()
        report.unfinished = await self._inventory.unfinished()
        report.seconds = asyncio.get_running_loop().time() - started
        return report

    async def _examine(self, file: StoredFile, how: Thoroughness) -> Finding | None:
        try:
            problem = await self._inventory.examine(file, fast=how.fast, bandwidth=how.bandwidth)
        except StoreFailed:
            problem = Problem.UNREADABLE
        finding = None
        if problem is not None:
            finding = await self._repair(file, problem) if how.repairs else Finding(file, problem, Action.LEFT)
        self._observer.notify(FileScrubbed(file.digest, file.size, problem, finding.action if finding else None))
        return finding

    async def _repair(self, file: StoredFile, problem: Problem) -> Finding:
        try:
            await self._inventory.remove(file.digest)
            routes = await self._inventory.routes(file.digest)
        except StoreFailed as error:
            return Finding(file, problem, Action.LEFT, str(error))
        detail = "no repository is known to have it"
        for route in routes:
            try:
                await self._fetch(route, file.kind, file.digest)
            except MirrorError as error:
                detail = f"{route}: {error}"
            else:
                return Finding(file, problem, Action.REFETCHED)
        return Finding(file, problem, Action.REMOVED, detail)
