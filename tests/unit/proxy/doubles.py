"""The outer parts, in memory: an upstream that follows a script, files in no folder, records without a table."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar, Union

from mirror.errors import BodyCut, StoreFailed
from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository, Tag, Variant
from mirror.proxy.freshness import TagRecord
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.interfaces.upstream import WHOLE, Rest, Validator
from mirror.proxy.listing import Listed, Listing
from mirror.proxy.rate_limit import Spending
from mirror.proxy.routing import Route

T = TypeVar("T")

HUB = Route("docker.io", Repository("library/alpine"))
OTHER = Route("docker.io", Repository("someone/else"))


# Upstream. -----------------------------------------------------------------------------------------------


class Never:
    """The answer of an upstream that gives none."""


@dataclass
class Held(Generic[T]):
    """An answer that is given once the gate opens."""

    gate: asyncio.Event
    answer: T | Exception


Step = Union[T, Exception, Held[T], Never]  # noqa: UP007  # an alias with a variable


async def _follow(steps: list[Step[T]], asked: str) -> T:
    if not steps:
        raise AssertionError(f"nobody prepared the upstream for {asked}")
    step = steps.pop(0)
    if isinstance(step, Never):
        await asyncio.get_running_loop().create_future()
    if isinstance(step, Held):
        await step.gate.wait()
        step = step.answer
    if isinstance(step, Exception):
        raise step
    assert not isinstance(step, Never)
    return step


@dataclass
class ScriptedUpstream:
    """Answers what it was told to, in order; anything beyond the script is a failed test."""

    head_manifests: list[Step[Descriptor | None]] = field(default_factory=list)
    manifests: list[Step[Manifest]] = field(default_factory=list)
    head_blobs: list[Step[int | None]] = field(default_factory=list)
    blobs: list[Step[ScriptedTransfer]] = field(default_factory=list)
    tags: list[Step[tuple[str, ...]]] = field(default_factory=list)
    referrers: list[Step[tuple[str, ...]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)

    async def head_manifest(self, repository: Repository, reference: Reference) -> Descriptor | None:
        return await _follow(self.head_manifests, self._note(f"HEAD {repository} manifest {reference}"))

    async def get_manifest(self, repository: Repository, reference: Reference) -> Manifest:
        return await _follow(self.manifests, self._note(f"GET {repository} manifest {reference}"))

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        return await _follow(self.head_blobs, self._note(f"HEAD {repository} blob {digest}"))

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest = WHOLE) -> ScriptedTransfer:
        self.rests.append(rest)
        return await _follow(self.blobs, self._note(f"GET {repository} blob {digest}"))

    async def list_tags(self, repository: Repository) -> tuple[str, ...]:
        return await _follow(self.tags, self._note(f"GET {repository} tags"))

    async def list_referrers(self, repository: Repository, digest: Digest) -> tuple[str, ...]:
        return await _follow(self.referrers, self._note(f"GET {repository} referrers {digest}"))

    def _note(self, asked: str) -> str:
        self.asked.append(asked)
        return asked


Piece = bytes | Exception | asyncio.Event | Never
"""Bytes that arrive, an error that cuts the transfer, a gate that has to open first, or silence."""


class ScriptedTransfer:
    """A body that arrives in the given pieces; `size` is the declared length of the whole blob."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        size: int | None,
        start: int = 0,
        validator: Validator | None = None,
        stop: int | None = None,
    ) -> None:
        self._pieces = list(pieces)
        self._stop = stop
        self._size = size
        self._start = start
        self._validator = validator
        self.closed = False

    @classmethod
    def whole(cls, data: bytes, piece: int = 64 * 1024) -> ScriptedTransfer:
        """A transfer that goes well, in pieces of so many bytes."""
        return cls.rest_of(data, 0, piece)

    @classmethod
    def rest_of(cls, data: bytes, start: int, piece: int = 64 * 1024) -> ScriptedTransfer:
        """A transfer of what is behind `start` that goes well."""
        return cls([data[at : at + piece] for at in range(start, len(data), piece)], len(data), start)

    @property
    def start(self) -> int:
        return self._start

    @property
    def stop(self) -> int | None:
        return self._stop

    @property
    def size(self) -> int | None:
        return self._size

    @property
    def validator(self) -> Validator | None:
        return self._validator

    async def read(self, most: int | None = None) -> bytes:
        await asyncio.sleep(0)
        while self._pieces:
            piece = self._pieces.pop(0)
            if isinstance(piece, bytes):
                if most is not None and len(piece) > most:
                    self._pieces.insert(0, piece[most:])
                return piece[:most]
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, Never):
                await asyncio.get_running_loop().create_future()
            elif isinstance(piece, asyncio.Event):
                await piece.wait()
        return b""

    def close(self) -> None:
        self.closed = True


# Files. --------------------------------------------------------------------------------------------------


class MemoryFile:
    """A file that is in no folder; whoever opened it must close it."""

    def __init__(self, fd: int, opened: Counter[str]) -> None:
        self._fd = fd
        self._opened = opened
        self._opened["files"] += 1

    def fileno(self) -> int:
        return self._fd

    def is_loaded(self, start: int, stop: int) -> bool:
        return True

    async def load(self, start: int, stop: int) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._opened["files"] -= 1


async def read_to_end(body: Body, offset: int = 0, window: int = 32 * 1024) -> bytes:
    """Return what a client gets of `body`; raises BodyCut or StoreFailed where its connection would be cut."""
    data = bytearray()
    while (end := await body.sendable(offset)) > offset:
        while offset < end:
            stop = min(end, offset + window)
            data += await read_piece(body, offset, stop)
            offset = stop
    return bytes(data)


async def read_piece(body: Body, start: int, stop: int) -> bytes:
    """Return this range, which may be sent; as the sender of bodies does, it doubts a file that is too short."""
    await body.load(start, stop)
    if body.fileno() < 0:
        raise BodyCut("the file is closed")
    data = os.pread(body.fileno(), stop - start, start)
    if len(data) < stop - start:
        await body.doubt()
        raise StoreFailed("the file is shorter than it was")
    return data


# Memory. -------------------------------------------------------------------------------------------------


class MemoryManifests:
    """Manifests without a disk."""

    def __init__(self) -> None:
        self.kept: dict[Digest, Manifest] = {}
        self.failing = False
        self._turns: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, digest: Digest) -> Manifest | None:
        await asyncio.sleep(0)
        return self.kept.get(digest)

    def at_hand(self, digest: Digest) -> Manifest | None:
        return self.kept.get(digest)

    @asynccontextmanager
    async def turn(self, digest: Digest) -> AsyncIterator[None]:
        async with self._turns[digest]:
            yield

    async def put(self, manifest: Manifest) -> None:
        await asyncio.sleep(0)
        if self.failing:
            raise StoreFailed("the disk refused")
        self.kept[manifest.digest] = manifest


class MemoryRecords:
    """Tags and grants without a table."""

    def __init__(self) -> None:
        self.tags: dict[tuple[Route, Tag | Variant], TagRecord] = {}
        self.grants: set[tuple[Route, Digest]] = set()
        self.with_credentials: set[str] = set()

    async def tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        await asyncio.sleep(0)
        return self.tags.get((route, tag))

    async def latest_tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        return await self.tag(route, tag)

    async def put_tag(self, route: Route, tag: Tag | Variant, record: TagRecord) -> None:
        await asyncio.sleep(0)
        self.tags[route, tag] = record

    async def forget_tag(self, route: Route, tag: Tag | Variant) -> None:
        await asyncio.sleep(0)
        self.tags.pop((route, tag), None)

    async def credentialed(self, upstream: str) -> bool:
        await asyncio.sleep(0)
        return upstream in self.with_credentials

    async def granted(self, route: Route, digest: Digest) -> bool:
        await asyncio.sleep(0)
        return (route, digest) in self.grants

    async def grant(self, route: Route, digest: Digest) -> None:
        await asyncio.sleep(0)
        self.grants.add((route, digest))

    def knows_tag(self, route: Route, tag: Tag) -> Callable[[], TagRecord | None]:
        return lambda: self.tags.get((route, tag))

    def knows_grant(self, route: Route, digest: Digest) -> Callable[[], bool]:
        return lambda: (route, digest) in self.grants

    def recalls_grant(self, route: Route, digest: Digest) -> Callable[[], bool]:
        return self.knows_grant(route, digest)


class MemoryListings:
    """Lists without a disk; what is in `elsewhere` another process has put there."""

    def __init__(self) -> None:
        self.kept: dict[Listed, Listing] = {}
        self.elsewhere: dict[Listed, Listing] = {}
        self.failing = False

    async def get(self, listed: Listed) -> Listing | None:
        await asyncio.sleep(0)
        return self.kept.get(listed)

    async def latest(self, listed: Listed) -> Listing | None:
        await asyncio.sleep(0)
        return self.elsewhere.get(listed) or self.kept.get(listed)

    async def put(self, listed: Listed, listing: Listing) -> None:
        await asyncio.sleep(0)
        self.kept[listed] = listing
        if self.failing:
            raise StoreFailed("the disk refused")

    async def forget(self, listed: Listed) -> None:
        await asyncio.sleep(0)
        self.kept.pop(listed, None)
        if self.failing:
            raise StoreFailed("the disk refused")


class MemoryCache:
    """Remembers strings by the clock it is given."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._values: dict[str, tuple[str, float]] = {}

    async def get(self, key: str) -> str | None:
        await asyncio.sleep(0)
        return self.at_hand(key)

    def at_hand(self, key: str) -> str | None:
        value, until = self._values.get(key, ("", 0.0))
        return value if self._clock() < until else None

    async def set(self, key: str, value: str, seconds: float) -> None:
        await asyncio.sleep(0)
        if seconds > 0:
            self._values[key] = (value, self._clock() + seconds)

    async def delete(self, key: str) -> None:
        self._values.pop(key, None)


class SettableGovernor:
    """Lets be spent on every upstream what a test says."""

    def __init__(self, now: Spending = Spending.FREE) -> None:
        self.now = now

    def spending(self, upstream: str) -> Spending:
        return self.now


class SettableClock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
