"""A fill as its readers see it: how far it has come, and a body that follows the growing file.

Every client is only a reader of that file, the one that caused the fill included, so a client can neither slow
a fill nor end it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from mirror.errors import BodyCut, MirrorError
from mirror.oci.digest import Digest
from mirror.proxy.interfaces import Body, OpenFile, PartialFile
from mirror.proxy.progress import FillState, Progress
from mirror.proxy.routing import Route

SMALL = 1024 * 1024
"""Blobs up to this many bytes are verified before the first header, if they arrive within SMALL_PATIENCE."""

SMALL_PATIENCE = 5.0
"""Seconds a client waits for a small blob to be verified before it is streamed like a large one."""


class Fill:
    """One blob on its way into the store, asked for through `route`; shared by its writer and all its readers."""

    def __init__(self, route: Route, digest: Digest) -> None:
        self.route = route
        self.digest = digest
        self.error: MirrorError | None = None
        self.progress: Progress | None = None
        self._partial: PartialFile | None = None
        self._agreed = asyncio.Event()
        self._readers = 0
        self._unread = asyncio.Event()
        self._unread.set()

    # For readers. ----------------------------------------------------------------------------------------

    async def open(self) -> Body | None:
        """Return a body that follows this fill, as soon as upstream has agreed to it.

        None if the blob turned out to be in the store already. Raises what upstream said instead, or StoreFailed.
        """
        self.acquire()
        try:
            body = await self._open()
        except BaseException:
            self.release()
            raise
        if body is None:
            self.release()
        return body

    async def _open(self) -> FillReader | None:
        size = await self.size()
        if self.progress is None or self._partial is None:
            return None
        if size is not None and size <= SMALL:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.progress.settled(), SMALL_PATIENCE)
        if self.error is not None:
            raise self.error
        return FillReader(self, self.progress, self._partial.reader())

    async def size(self) -> int | None:
        """Return the length of the blob once upstream has agreed to the fill, None if it is not known.

        Raises what upstream said instead.
        """
        await self._agreed.wait()
        if self.error is not None:
            raise self.error
        return self.progress.total if self.progress else None

    def acquire(self) -> None:
        """A reader comes: the file stays open until it leaves."""
        self._readers += 1
        self._unread.clear()

    def release(self) -> None:
        """A reader leaves."""
        self._readers -= 1
        if self._readers == 0:
            self._unread.set()

    # For the writer. -------------------------------------------------------------------------------------

    def begin(self, partial: PartialFile, total: int | None) -> Progress:
        """Upstream agreed: readers may follow `partial`, which will have `total` bytes."""
        self._partial = partial
        self.progress = Progress(total)
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

    async def unread(self) -> None:
        """Wait until nobody reads."""
        await self._unread.wait()


class FillReader:
    """A body that grows as its fill does (see interfaces.Body)."""

    def __init__(self, fill: Fill, progress: Progress, file: OpenFile) -> None:
        self._fill = fill
        self._progress = progress
        self._file = file
        self._closed = False

    @property
    def size(self) -> int | None:
        """The declared length; None while upstream's word is missing and the fill has not ended."""
        return self._progress.total

    async def sendable(self, offset: int) -> int:
        """Wait for bytes behind `offset`; raises BodyCut when the fill fails."""
        try:
            return await self._progress.beyond(offset)
        except BodyCut:
            raise BodyCut(str(self._fill.error)) from self._fill.error

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file.fileno()

    async def load(self, start: int, stop: int) -> None:
        """Read the range ahead."""
        await self._file.load(start, stop)

    def close(self) -> None:
        """Let go of the file and of the fill."""
        if not self._closed:
            self._closed = True
            self._file.close()
            self._fill.release()
