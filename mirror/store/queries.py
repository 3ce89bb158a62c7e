"""What is asked of a table, statement by statement; all block, and raise what SQLite and diskcache do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MODE_RAW = 1
# As diskcache marks a value that is in the database as it is.

COUNT = "SELECT COUNT(*) FROM Cache"
"""Asks the table how many rows it has."""

_LAST = "\U0010ffff"
# Behind every key that goes on.

_INSERT = (
    "INSERT INTO Cache (key, raw, store_time, access_time, access_count, size, mode, value)"
    " VALUES (?, 1, ?, ?, 0, 0, ?, ?)"
)
# diskcache itself has five statements for each row, and a table may have to be written anew as a whole.


def all_rows(table: Any) -> tuple[dict[str, str], int]:
    """Return the rows of a table and how many others there are, which are left alone."""
    return _own(_select(table, "SELECT key, raw, mode, filename, value FROM Cache"))


def rows_beginning(table: Any, prefixes: list[str]) -> dict[str, str]:
    """Return the rows whose keys begin with one of these."""
    between = "SELECT key, raw, mode, filename, value FROM Cache WHERE key >= ? AND key < ?"
    found = [_own(_select(table, between, (prefix, prefix + _LAST)))[0] for prefix in prefixes]
    return {key: value for rows in found for key, value in rows.items()}


def _select(table: Any, *query: Any) -> Iterable[tuple[Any, ...]]:
    # One statement: diskcache itself has two for each row, and none for a range.
    rows: Iterable[tuple[Any, ...]] = table._sql(*query)
    return rows


def _own(found: Iterable[tuple[Any, ...]]) -> tuple[dict[str, str], int]:
    """Return those rows that are the mirror's, and how many are not."""
    rows, foreign = {}, 0
    for key, raw, mode, filename, value in found:
        if raw and mode == MODE_RAW and filename is None and type(key) is type(value) is str:
            rows[key] = value
        else:
            foreign += 1
    return rows, foreign


def some_rows(table: Any, keys: list[str]) -> dict[str, str]:
    """Return those rows of these keys that there are."""
    found = ((key, table.get(key)) for key in keys)
    return {key: value for key, value in found if value is not None}


def change(table: Any, key: str, changed: Callable[[str | None], str | None]) -> bool:
    """Set a row to what `changed` makes of it, in one transaction; returns True."""
    with table.transact():
        return write(table, {key: changed(table.get(key))})


def write(table: Any, changes: Mapping[str, str | None]) -> bool:
    """Set rows, or remove those whose value is None, in one transaction; returns True.

    Raises TypeError for what is no string, and changes nothing.
    """
    replaced = (
        " ON CONFLICT (key, raw) DO UPDATE SET store_time = excluded.store_time, expire_time = NULL,"
        " access_time = excluded.access_time, access_count = 0, tag = NULL, size = 0, mode = excluded.mode,"
        " filename = NULL, value = excluded.value"
    )
    removed = [(table.disk.put(key)[0],) for key, value in changes.items() if value is None]
    with table.transact():
        table._con.executemany("DELETE FROM Cache WHERE key = ? AND raw = 1", removed)
        table._con.executemany(
            _INSERT + replaced, _columns(table, ((key, value) for key, value in changes.items() if value is not None))
        )
    return True


def add(table: Any, rows: Iterable[tuple[str, str]]) -> bool:
    """Add the rows that are not there yet, all in one transaction or none; returns True."""
    with table.transact():
        table._con.executemany(_INSERT + " ON CONFLICT DO NOTHING", _columns(table, rows))
    return True


def _columns(table: Any, rows: Iterable[tuple[str, str]]) -> Iterable[tuple[str, float, float, int, str]]:
    """Return what `_INSERT` takes; raises TypeError for what is no string."""
    now = time.time()
    for key, value in rows:
        _, mode, _, stored = table.disk.store(value, False)
        yield table.disk.put(key)[0], now, now, mode, stored


def figures(table: Any, query: str) -> tuple[int, ...]:
    """Return the one row of numbers that a query gives; what is none counts as 0."""
    [row] = _select(table, query)
    return tuple(int(number or 0) for number in row)
