"""`index.json` as it is on disk: the copy that lost records come back from, written by one process for all."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from mirror.proxy.interfaces.clock import Clock
from mirror.store import drafts, layout
from mirror.store.folders import Folders
from mirror.store.index import Index
from mirror.store.records import StoredRecords
from mirror.store.threads import FileThreads
from mirror.store.turns import Turns

_NAME = "index.json"
_EVERY_SECONDS = 60.0


class Saved:
    """Reads the copy, and writes it: once a minute at most, however many processes change the records.

    The file's time is when what it tells was true. So it says by itself how old it is, and whether it knows of a
    change already; nothing else has to be remembered by a process that may die.
    """

    def __init__(
        self, folders: Folders, records: StoredRecords, index: Index, threads: FileThreads, clock: Clock
    ) -> None:
        self._folders = folders
        self._records = records
        self._index = index
        self._threads = threads
        self._clock = clock
        self._turns = Turns(folders, "saving", threads.writing)
        self._tried_at: float | None = None
        self._untold: float | None = clock()
        """Since when something may be there that the copy does not tell of, as after a crash; None if nothing is."""

    async def rows(self) -> dict[str, str]:
        """Return the rows that the copy tells of, none if there is no such file; raises StoreFailed."""
        document = await self._threads.reading.run(self._folders.root.read, _NAME)
        return await self._threads.reading.run(layout.parse, document or b"")

    async def is_due(self) -> bool:
        """Tell whether something is there that no process has written yet, and none wrote within a minute."""
        if self._records.changed:
            self._records.changed = False
            self._untold = self._clock()
        now = self._clock()
        if self._untold is None or _is_lately(self._tried_at, now):
            return False
        told = await self._threads.reading.run(self._folders.root.modified, _NAME)
        if told is not None and self._untold < told <= now:
            self._untold = None
            return False
        return not _is_lately(told, now)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Let nobody else write: an older copy could come to lie over a newer one."""
        return self._turns.turn()

    async def write(self, as_of: float) -> None:
        """Write what there is now, of which everything from before `as_of` is known; raises StoreFailed."""
        self._tried_at = self._clock()
        rows = await self._records.rows()
        if not rows and await self._threads.reading.run(self._folders.root.exists, _NAME):
            # Nothing is known, or nothing could be read; either way the copy there is can only be better.
            return
        document = await self._threads.writing.run(layout.render, rows, self._index)
        await self._threads.writing.run(drafts.replace, self._folders.root, _NAME, document, as_of)
        # Of others nothing is known that came after `as_of`; what this process had put before is in the rows.
        self._untold = None


def _is_lately(at: float | None, now: float) -> bool:
    # A time to come is one of a clock that was wrong.
    return at is not None and 0 <= now - at < _EVERY_SECONDS
