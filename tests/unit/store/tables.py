"""Tables, and what somebody else may have written into them."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path

PICKLE_MODE = 4


class Exploding:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, (str(self._trace), "w")


def poison(folder: Path, key: str | bytes, trace: Path, *, raw: int = 1) -> None:
    """Write a row into a table as diskcache would write an object of any kind."""
    insert(folder, key, pickle.dumps(Exploding(trace)), PICKLE_MODE, raw)


def insert(folder: Path, key: object, value: object, mode: int, raw: int = 1) -> None:
    """Write a row into a table past all checks; mode 1 is a string, 4 a pickle."""
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        connection.execute(
            "INSERT INTO Cache(key, raw, store_time, expire_time, access_time, access_count,"
            " tag, size, mode, filename, value) VALUES (?, ?, 0, NULL, 0, 0, NULL, 0, ?, NULL, ?)",
            (key, raw, mode, value),
        )
    connection.close()
