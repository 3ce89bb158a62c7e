"""Scrub, as a story: every stored file against its digest; a bad one is removed, and fetched again if it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from mirror.errors import MirrorError, Refused, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.scrubbing import FileScrubbed
from mirror.proxy.routing import Route


class Problem(StrEnum):
    """What can be wrong with a stored file."""

    DAMAGED = "damaged"
    """Its bytes do not have its digest."""
    RESIZED = "resized"
    """It is not as long as it was."""
    UNREADABLE = "unreadable"
    """The disk gives errors instead of its bytes."""
    UNEXAMINED = "unexamined"
    """It could not be looked at, and nothing is said against its bytes: it is left alone."""


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


class Examined(Protocol):
    """A file that is held open, so that what is said of it is not done to another."""

    @property
    def problem(self) -> Problem | None:
        """What is wrong with it; None if nothing is, or if it is gone."""

    @property
    def detail(self) -> str:
        """What the disk said, if that is the problem."""

    async def remove(self) -> bool:
        """Remove it, readers keep it open; False if it was gone or replaced already. Raises StoreFailed."""


class Inventory(Protocol):
    """What is at rest, for a scrub. Raises StoreFailed throughout."""

    async def files(self) -> list[StoredFile]:
        """Return the committed files, in the order of their digests."""

    def examine(self, file: StoredFile, *, fast: bool, bandwidth: int | None) -> AbstractAsyncContextManager[Examined]:
        """Return a context that the file is held open in, with what is found of it.

        `fast` looks at its size only; else it is read with at most `bandwidth` bytes a second.
        """

    async def strangers(self) -> list[str]:
        """Return what is in the cache folder and not the mirror's."""

    async def unfinished(self) -> list[Leftover]:
        """Return the partial files."""

    async def routes(self, digest: Digest) -> list[Route]:
        """Return the repositories that may serve the digest, none if nothing can be read of them."""


Fetch = Callable[[Route, Kind, Digest], Awaitable[None]]
"""Fetches a manifest or a blob through a repository; it is stored then. Raises MirrorError."""


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
        routes: list[Route] = []
        async with self._inventory.examine(file, fast=how.fast, bandwidth=how.bandwidth) as examined:
            if how.repairs and examined.problem is not None:
                # Before it is removed: what is said of content that is gone may be forgotten any time.
                routes = await self._inventory.routes(file.digest)
            finding = await self._treat(file, examined, how)
        try:
            if finding is not None and finding.action is Action.REMOVED:
                finding = await self._fetch_again(finding, routes)
        finally:
            # Also if it is interrupted: what was removed is told.
            problem, action = (finding.problem, finding.action) if finding else (None, None)
            self._observer.notify(FileScrubbed(file.digest, file.size, problem, action))
        return finding

    async def _treat(self, file: StoredFile, examined: Examined, how: Thoroughness) -> Finding | None:
        if examined.problem is None:
            return None
        if not how.repairs or examined.problem is Problem.UNEXAMINED:
            return Finding(file, examined.problem, Action.LEFT, examined.detail)
        try:
            is_removed = await examined.remove()
        except StoreFailed as error:
            return Finding(file, examined.problem, Action.LEFT, str(error))
        return Finding(file, examined.problem, Action.REMOVED) if is_removed else None

    async def _fetch_again(self, found: Finding, routes: list[Route]) -> Finding:
        """Try one repository after the other; where an upstream gives no answer, its others are not tried."""
        file, detail, lost = found.file, "no repository is known to have it", set[str]()
        for route in routes:
            if route.upstream in lost:
                continue
            try:
                await self._fetch(route, file.kind, file.digest)
            except MirrorError as error:
                detail = f"{route}: {error}"
                if not isinstance(error, Refused):
                    lost.add(route.upstream)
            else:
                return replace(found, action=Action.REFETCHED)
        return replace(found, detail=detail)
