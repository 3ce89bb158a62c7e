"""A fill as its readers see it: how far it has come, and a body that follows the growing file.

Every client is only a reader of that file, the one that caused the fill included, so a client can neither slow
a fill nor end it. What the disk does not take passes through memory; there the slowest reader sets the pace.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Protocol

from mirror.errors import BodyCut, MirrorError, UpstreamInvalid
from mirror.oci.digest import Digest
from mirror.proxy.fills.audience import Audience
from mirror.proxy.fills.hold import Hold
from mirror.proxy.fills.progress import Progress
from mirror.proxy.interfaces.bodies import Body, OpenFile
from mirror.proxy.interfaces.fills import FillState, Passage
from mirror.proxy.routing import Route

SMALL = 1024 * 1024
"""Blobs up to this many bytes are verified before the first header, if they arrive within SMALL_PATIENCE."""

SMALL_PATIENCE = 5.0
"""Seconds a client waits for a small blob to be verified before it is streamed like a large one."""


class Source(Protocol):
    """What a fill is read from, whoever writes it."""

    def reader(self) -> OpenFile:
        """Return the file open for reading."""


class Fill:
    """One blob on its way into the store, asked for through `route`; shared by its writer and all its readers.

    It has a `hold` if it was begun before anybody asked for it.
    """

    def __init__(self, route: Route, digest: Digest, hold: Hold | None = None) -> None:
        self.route = route
        self.digest = digest
        self.hold = hold
        self.audience = Audience()
        self.error: MirrorError | None = None
        self.progress: Progress | None = None
        self.passage: Passage | None = None
        self._source: Source | None = None
        self._agreed = asyncio.Event()
        self.is_repeated = False
        """True once it began anew."""
        self.is_published = False
        """True once a reader may have had bytes: from then on they must not change."""

    # For readers. ----------------------------------------------------------------------------------------

    @property
    def is_joinable(self) -> bool:
        """Tell whether a new reader would still find the first byte."""
        return self.passage is None or self.passage.floor <= self.passage.start

    @property
    def is_unclaimed(self) -> bool:
        """Tell whether nobody has asked for it yet."""
        return self.hold is not None and not self.hold.is_claimed

    @property
    def is_held(self) -> bool:
        """Tell whether it waits for somebody to ask for it."""
        return self.hold is not None and self.hold.is_held

    @property
    def is_kept(self) -> bool:
        """Tell whether the bytes are on their way to the disk."""
        return self.passage is None

    async def open(self) -> Body | None:
        """Return a body that follows this fill, as soon as upstream has agreed to it.

        None if there is nothing to read here: the blob is in the store already, or its first bytes have passed.
        Raises what upstream said instead, or StoreFailed.
        """
        self.audience.acquire()
        if self.hold is not None:
            self.hold.claim()
        try:
            body = await self._open()
        except BaseException:
            self.audience.release()
            raise
        if body is None:
            self.audience.release()
        return body

    async def _open(self) -> FillReader | None:
        while True:
            size = await self.size()
            progress = self.progress
            if progress is None:
                return None
            if size is not None and size <= SMALL:
                with suppress(TimeoutError):
                    # An empty body is complete with its first header.
                    async with asyncio.timeout(SMALL_PATIENCE if size else None):
                        await progress.settled()
            if self.error is not None:
                raise self.error
            if not self.is_joinable:
                return None
            if self.progress is progress:
                break
        reader = FillReader(self, progress, self._source.reader() if self._source else None)
        self.is_published = True
        return reader

    async def size(self) -> int | None:
        """Return the length of the blob once upstream has agreed to the fill, None if it is not known.

        Raises what upstream said instead.
        """
        await self._agreed.wait()
        if self.error is not None:
            raise self.error
        return self.progress.total if self.progress else None

    # For the writer. -------------------------------------------------------------------------------------

    def begin(self, source: Source | None, total: int | None, prefix: int = 0) -> Progress:
        """Upstream agreed: readers may follow `source`, which has `prefix` of `total` bytes; None for a passage.

        Whoever takes over a fill that has begun goes on with it; raises UpstreamInvalid for another length.
        """
        self._source = source or self._source
        if self.progress is None:
            self.progress = Progress(total)
        elif None not in (total, self.progress.total) and total != self.progress.total:
            raise UpstreamInvalid("upstream offers a blob of another length than before")
        self.progress.reach(prefix)
        self._agreed.set()
        return self.progress

    def found(self) -> None:
        """The blob is in the store already; readers look there."""
        self._agreed.set()

    def fail(self, error: MirrorError) -> None:
        """Nothing more will come; readers without the last bytes are cut, those still waiting get `error`."""
        if self.progress is None and not self._agreed.is_set():
            self.error = error
        elif self.progress is not None and self.progress.state is FillState.WRITING:
            self.error = error
            self.progress.enter(FillState.FAILED)
        self._agreed.set()

    def withdraw(self) -> bool:
        """Take back what nobody has read yet, so that it can begin anew, once; False if it is too late for that."""
        if self.is_published or self.is_repeated:
            return False
        self.is_repeated = True
        self._agreed.clear()
        if self.progress is not None:
            self.progress.enter(FillState.FAILED)
        self.progress, self._source, self.passage = None, None, None
        return True


class FillReader:
    """A body that grows as its fill does (see Body)."""

    def __init__(self, fill: Fill, progress: Progress, file: OpenFile | None) -> None:
        self._fill = fill
        self._progress = progress
        self._on_disk = file
        self._file = file
        self._seat = fill.audience.seat()
        self._closed = False

    @property
    def size(self) -> int | None:
        """The declared length; None while upstream's word is missing and the fill has not ended."""
        return self._progress.total

    @property
    def is_whole(self) -> bool:
        """Tell whether the fill has come to its end on disk."""
        return self._fill.passage is None and self._progress.state in (FillState.VERIFIED, FillState.COMMITTED)

    async def sendable(self, offset: int) -> int:
        """Wait for bytes behind `offset`; raises BodyCut when the fill fails."""
        self._fill.audience.move(self._seat, offset)
        try:
            end = await self._progress.beyond(offset)
        except BodyCut:
            raise BodyCut(str(self._fill.error)) from self._fill.error
        return self._locate(offset, end)

    def _locate(self, offset: int, end: int) -> int:
        """Turn to the file that has the bytes at `offset`, and return where its share of them ends."""
        if self._seat.is_cut:
            raise BodyCut("the client was too slow for a blob that cannot be kept")
        passage = self._fill.passage
        if passage is None or end <= offset:
            return end
        if offset < passage.start:
            self._file = self._on_disk
            return min(end, passage.start)
        self._file, share = passage.at(offset)
        return min(end, share)

    def fileno(self) -> int:
        """Return the descriptor of the file that has the bytes last promised, -1 for a reader that was cut."""
        return -1 if self._file is None or self._seat.is_cut else self._file.fileno()

    def is_loaded(self, start: int, stop: int) -> bool:
        """Tell whether the range is in memory."""
        return self._file is not None and not self._seat.is_cut and self._file.is_loaded(start, stop)

    async def load(self, start: int, stop: int) -> None:
        """Read the range ahead."""
        if self._file is not None and not self._seat.is_cut:
            await self._file.load(start, stop)

    async def verified(self) -> None:
        """Wait until the digest has matched; raises BodyCut if it will not."""
        self._fill.audience.move(self._seat, sys.maxsize)
        await self._progress.settled()
        if self._progress.state is FillState.FAILED:
            raise BodyCut(str(self._fill.error)) from self._fill.error

    async def doubt(self) -> None:
        """Nothing to do: what is not committed is served to nobody else."""

    def close(self) -> None:
        """Let go of the file and of the fill."""
        if not self._closed:
            self._closed = True
            if self._on_disk is not None:
                self._on_disk.close()
            self._fill.audience.leave(self._seat)
