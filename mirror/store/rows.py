"""Tables of small strings that survive a restart; the only user of diskcache.

A table is a hint. Whatever goes wrong with it is reported and answered as if the row were not there.
"""

from __future__ import annotations

import functools
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import diskcache

from mirror.errors import StoreFailed
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import StoreTroubled
from mirror.store import queries
from mirror.store.table_folder import make_folder, set_aside
from mirror.store.threads import Threads

T = TypeVar("T")

_BUSY_SECONDS = 5
_NOT_DAMAGE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
# Another process has it, or the disk: not to be taken away from either.
_TRY_AGAIN_SECONDS = 30.0
_SETTINGS: dict[str, Any] = {
    # All are given, because those of an existing database would win otherwise.
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 2**40,
    "cull_limit": 0,
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 2**26,
    "sqlite_synchronous": 1,
    "disk_min_file_size": 2**20,
    "disk_pickle_protocol": 0,
}


class StringsOnly(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys and values are strings kept in the database itself: nothing is pickled, no other file is opened.

    diskcache pickles whatever it does not know, on the way in and on the way out (CVE-2025-69872).
    """

    def put(self, key: object) -> tuple[str, bool]:
        """Return the database form of a key; raises TypeError for anything but a string."""
        if type(key) is not str:
            raise TypeError("a key is a string")
        return key, True

    def get(self, key: object, raw: object) -> str | None:
        """Return the key of a database row, None for a row somebody else wrote."""
        return key if type(key) is str and raw else None

    def store(self, value: object, read: bool, key: object = None) -> tuple[int, int, None, str]:
        """Return the database form of a value; raises TypeError for anything but a string."""
        if type(value) is not str or read:
            raise TypeError("a value is a string")
        return 0, queries.MODE_RAW, None, value

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> str:
        """Return the value of a database row; raises ValueError for a row somebody else wrote."""
        if mode != queries.MODE_RAW or type(value) is not str:
            raise ValueError("a row with a value that is not a string")
        return value


class _Unknown:
    """What is read from a table that cannot be read."""


_UNKNOWN = _Unknown()


class Rows:
    """One table, with a thread of its own: SQLite has one writer a process here."""

    def __init__(self, folder: Path, observer: Observer) -> None:
        self._folder = folder
        self._observer = observer
        self._threads = Threads(f"rows-{folder.name}", 1)
        # Reading a whole table takes a while; look-ups do not wait for it.
        self._bulk = Threads(f"rows-{folder.name}-all", 1)
        self._table: Any = None
        self._tried_at = 0.0
        self._closed = False

    async def open(self) -> None:
        """Open the table; a damaged one is moved aside and begun anew, a locked one is tried again later."""
        self._tried_at = time.monotonic()
        await self._attempt("open", self._open, None)

    async def get(self, key: str) -> str | None:
        """Return the value of a row, None if there is none; raises StoreFailed if that cannot be told."""
        return await self._told(lambda table: table.get(key), "a row could not be read")

    async def some(self, keys: Iterable[str]) -> dict[str, str]:
        """Return those rows of these keys that there are; raises StoreFailed if that cannot be told."""
        wanted = list(keys)
        return await self._told(lambda table: queries.some_rows(table, wanted), "rows could not be read")

    async def beginning(self, prefixes: Iterable[str]) -> dict[str, str]:
        """Return the rows whose keys begin with one of these; raises StoreFailed if that cannot be told."""
        wanted = list(prefixes)
        return await self._told(
            lambda table: queries.rows_beginning(table, wanted), "rows could not be read", self._bulk
        )

    async def change(self, key: str, change: Callable[[str | None], str | None]) -> bool:
        """Set a row to what `change` makes of it, None for no row, in one transaction of all processes.

        Returns False if that was not possible. `change` is called in a thread.
        """
        return await self._on_table("write", lambda table: queries.change(table, key, change), False)

    async def write(self, changes: Mapping[str, str | None]) -> bool:
        """Set rows, or remove those whose value is None, in one transaction; False if that was not possible."""
        return not changes or await self._on_table("write", lambda table: queries.write(table, changes), False)

    async def add(self, rows: Mapping[str, str]) -> bool:
        """Add rows where there are none yet, in one transaction; False if that was not possible."""
        return not rows or await self._on_table("write", lambda table: queries.add(table, rows.items()), False)

    async def figures(self, query: str) -> tuple[int, ...] | None:
        """Return the numbers that a query gives, None if it cannot be told."""
        nothing: tuple[int, ...] | None = None
        return await self._on_table("read", lambda table: queries.figures(table, query), nothing, self._bulk)

    async def items(self) -> dict[str, str]:
        """Return all rows."""
        nothing: tuple[dict[str, str], int] = {}, 0
        rows, foreign = await self._on_table("read", queries.all_rows, nothing, self._bulk)
        if foreign:
            error = ValueError(f"{foreign} rows are not the mirror's")
            self._observer.notify(StoreTroubled(f"read of {self._folder.name}/", error))
        return rows

    async def close(self) -> None:
        """Close the table; it cannot be opened again."""
        self._closed = True
        for threads in (self._threads, self._bulk):
            # diskcache has a connection for each thread.
            await self._on_table("close", lambda table: table.close(), None, threads)
        self._threads.close()
        self._bulk.close()

    async def _told(self, call: Callable[[Any], T], otherwise: str, threads: Threads | None = None) -> T:
        """Return what the table tells; raises StoreFailed with these words where it does not."""
        told: T | _Unknown = await self._on_table("read", call, _UNKNOWN, threads)
        if isinstance(told, _Unknown):
            raise StoreFailed(otherwise)
        return told

    async def _on_table(self, doing: str, call: Callable[[Any], T], otherwise: T, threads: Threads | None = None) -> T:
        if self._table is None and not self._closed and time.monotonic() - self._tried_at >= _TRY_AGAIN_SECONDS:
            await self.open()
        if self._table is None:
            return otherwise
        return await self._attempt(doing, functools.partial(call, self._table), otherwise, threads)

    async def _attempt(self, doing: str, call: Callable[[], T], otherwise: T, threads: Threads | None = None) -> T:
        try:
            return await (threads or self._threads).run(call)
        except (sqlite3.Error, diskcache.Timeout, StoreFailed, ValueError, KeyError) as error:
            self._observer.notify(StoreTroubled(f"{doing} of {self._folder.name}/", error))
            return otherwise

    def _open(self) -> None:
        found = make_folder(self._folder)
        try:
            if not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError("something else is in its place")
            self._table = self._connect()
        except (sqlite3.Error, OSError, ValueError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
                raise
            set_aside(self._folder, found)
            make_folder(self._folder)
            self._table = self._connect()

    def _connect(self) -> Any:
        cache = diskcache.Cache(str(self._folder), timeout=_BUSY_SECONDS, disk=StringsOnly, **_SETTINGS)
        next(iter(cache), None)
        return cache
