from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import diskcache
import pytest

from mirror.errors import StoreFailed
from mirror.proxy.events.troubles import StoreTroubled
from mirror.store import queries
from mirror.store import rows as rows_module
from mirror.store.rows import Rows, StringsOnly
from tests.unit.recorder import Recorder
from tests.unit.store.tables import PICKLE_MODE, insert, poison


class Table:
    """A table, and what it reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.observer = Recorder()
        self.rows = Rows(folder, self.observer)

    @property
    def troubles(self) -> list[str]:
        return [event.doing for event in self.observer.of(StoreTroubled)]


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[Table]:
    """An open, empty table."""
    opened = Table(tmp_path / "table")
    await opened.rows.open()
    yield opened
    await opened.rows.close()


async def test_rows_survive(tmp_path: Path) -> None:
    first = Table(tmp_path / "table")
    await first.rows.open()
    await first.rows.write({"a": "1", "b": "2", "c": ""})
    await first.rows.write({"a": None, "b": "3", "never there": None})
    await first.rows.close()
    second = Table(tmp_path / "table")
    await second.rows.open()
    assert await second.rows.items() == {"b": "3", "c": ""}
    assert await second.rows.get("b") == "3"
    assert await second.rows.get("a") is None
    await second.rows.close()
    assert first.troubles == second.troubles == []


async def test_nothing_to_write_is_nothing(table: Table) -> None:
    await table.rows.write({})
    assert await table.rows.items() == {}


@pytest.mark.parametrize("value", [5, 1.5, b"bytes", True, ["list"], object()])
async def test_only_strings_are_taken(table: Table, value: object) -> None:
    for changes in ({"key": value}, {value if isinstance(value, int | float | bytes) else 5: "value"}):
        with pytest.raises(TypeError):
            await table.rows.write(changes)  # type: ignore[arg-type]  # what is not allowed
    assert await table.rows.items() == {}


async def test_a_string_of_another_kind_is_no_string(table: Table) -> None:
    class Fancy(str):
        __slots__ = ()

    with pytest.raises(TypeError):
        await table.rows.write({"key": Fancy("value")})


@pytest.mark.parametrize("content", ["", "\0", "line\nbreak", "\u00e9\U0001f600", "x" * 3_000_000])
async def test_any_text_comes_back(table: Table, content: str) -> None:
    await table.rows.write({f"key {content[:100]}": content})
    assert await table.rows.items() == {f"key {content[:100]}": content}
    assert sorted(path.name for path in table.folder.iterdir() if path.is_dir()) == []


async def test_a_write_is_all_or_nothing(table: Table) -> None:
    with pytest.raises(TypeError):
        await table.rows.write({"a": "1", "b": 2})  # type: ignore[dict-item]  # what is not allowed
    assert await table.rows.items() == {}


async def test_a_poisoned_row_is_never_unpickled(table: Table, tmp_path: Path) -> None:
    trace = tmp_path / "exploded"
    await table.rows.write({"good": "row"})
    poison(table.folder, "poisoned", trace)
    with pytest.raises(StoreFailed):
        await table.rows.get("poisoned")
    assert table.troubles == ["read of table/"]
    assert await table.rows.get("good") == "row"
    await table.rows.items()
    assert not trace.exists()


async def test_the_poison_would_have_worked(table: Table, tmp_path: Path) -> None:
    trace = tmp_path / "exploded"
    poison(table.folder, "poisoned", trace)
    with diskcache.Cache(str(table.folder), disk=diskcache.Disk) as careless:
        careless.get("poisoned").close()
    assert trace.exists()


async def test_one_row_of_somebody_else_does_not_hide_the_others(table: Table, tmp_path: Path) -> None:
    await table.rows.write({"good": "row"})
    poison(table.folder, "poisoned", tmp_path / "exploded")
    insert(table.folder, "number", 5, 1)
    assert await table.rows.items() == {"good": "row"}


async def test_a_key_of_somebody_else_does_not_hide_the_others(table: Table, tmp_path: Path) -> None:
    await table.rows.write({"good": "row"})
    poison(table.folder, b"\x80\x04", tmp_path / "exploded", raw=0)
    assert await table.rows.items() == {"good": "row"}


async def test_a_poisoned_row_can_be_replaced(table: Table, tmp_path: Path) -> None:
    poison(table.folder, "key", tmp_path / "exploded")
    await table.rows.write({"key": "good again"})
    assert await table.rows.get("key") == "good again"
    assert await table.rows.items() == {"key": "good again"}


@pytest.mark.parametrize("damage", [b"garbage" * 1000, b"", b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_table_that_cannot_be_used_is_moved_aside(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "cache.db").write_bytes(damage)
    table = Table(folder)
    await table.rows.open()
    await table.rows.write({"key": "value"})
    assert await table.rows.get("key") == "value"
    await table.rows.close()
    assert table.troubles == []
    aside = [name for name in os.listdir(tmp_path) if ".broken-" in name]
    assert len(aside) == (1 if damage else 0)


async def test_a_table_of_pickles_is_moved_aside(tmp_path: Path) -> None:
    trace = tmp_path / "exploded"
    folder = tmp_path / "table"
    diskcache.Cache(str(folder)).close()
    poison(folder, "first", trace)
    table = Table(folder)
    await table.rows.open()
    assert await table.rows.items() == {}
    await table.rows.close()
    assert not trace.exists()


async def test_a_file_in_place_of_the_table_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(b"not a folder")
    table = Table(tmp_path / "table")
    await table.rows.open()
    await table.rows.write({"key": "value"})
    assert await table.rows.get("key") == "value"
    await table.rows.close()


async def test_of_a_table_that_cannot_be_opened_nothing_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_bytes(b"not a folder")
    table = Table(tmp_path / "in the way" / "table")
    await table.rows.open()
    assert table.troubles == ["open of table/"]
    with pytest.raises(StoreFailed):
        await table.rows.get("key")
    assert await table.rows.items() == {}
    assert not await table.rows.write({"key": "value"})
    await table.rows.close()


async def test_a_write_tells_whether_it_was_done(table: Table) -> None:
    assert await table.rows.write({"key": "value"})
    assert await table.rows.write({})
    connection = sqlite3.connect(table.folder / "cache.db")
    connection.execute("ALTER TABLE Cache RENAME TO Elsewhere")
    assert not await table.rows.write({"key": "newer"})
    assert not await table.rows.write({"key": None})
    connection.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED])
async def test_a_table_that_another_holds_is_not_taken_away_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    table = Table(tmp_path / "table")
    connect = table.rows._connect

    def locked() -> object:
        (tmp_path / "table").mkdir(exist_ok=True)
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(table.rows, "_connect", locked)
    await table.rows.open()
    assert not await table.rows.write({"key": "value"})
    assert table.troubles == ["open of table/"]
    assert os.listdir(tmp_path) == ["table"]
    # It is tried again later, without a restart.
    monkeypatch.setattr(table.rows, "_connect", connect)
    monkeypatch.setattr(rows_module, "_TRY_AGAIN_SECONDS", 0.0)
    assert await table.rows.write({"key": "value"})
    assert await table.rows.get("key") == "value"
    await table.rows.close()


async def test_a_table_whose_file_is_destroyed_while_open_is_reported(table: Table) -> None:
    await table.rows.write({"key": "value"})
    for path in table.folder.iterdir():
        path.write_bytes(b"\xff" * 4096)
    with suppress(StoreFailed):
        assert await table.rows.get("key") in (None, "value")


async def test_a_row_that_cannot_be_read_is_not_one_that_is_absent(table: Table) -> None:
    await table.rows.write({"key": "value"})
    connection = sqlite3.connect(table.folder / "cache.db")
    connection.execute("ALTER TABLE Cache RENAME TO Elsewhere")
    with pytest.raises(StoreFailed):
        await table.rows.get("key")
    assert table.troubles == ["read of table/"]
    assert await table.rows.items() == {}
    connection.execute("ALTER TABLE Elsewhere RENAME TO Cache")
    connection.close()
    assert await table.rows.get("key") == "value"
    assert await table.rows.get("other") is None


async def test_reading_a_whole_table_does_not_delay_a_look_up(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    await table.rows.write({"key": "value"})
    begun, gate = threading.Event(), threading.Event()
    all_rows = queries.all_rows

    def slow(opened: object) -> tuple[dict[str, str], int]:
        begun.set()
        gate.wait(60)
        return all_rows(opened)

    monkeypatch.setattr(queries, "all_rows", slow)
    reading = asyncio.create_task(table.rows.items())
    await asyncio.to_thread(begun.wait, 60)
    try:
        assert await asyncio.wait_for(table.rows.get("key"), 30) == "value"
        assert not reading.done()
    finally:
        gate.set()
    assert await reading == {"key": "value"}


def test_a_table_is_written_anew_without_a_look_at_each_row(tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path), disk=StringsOnly) as table:
        keys = [str(number) for number in range(100)]
        queries.write(table, dict.fromkeys(keys, "old"))
        asked: list[str] = []
        table._con.set_trace_callback(asked.append)
        queries.write(table, {key: "new" if number % 2 else None for number, key in enumerate(keys)})
        table._con.set_trace_callback(None)
        assert [statement for statement in asked if statement.startswith("SELECT")] == []
        assert queries.all_rows(table) == (dict.fromkeys(keys[1::2], "new"), 0)
        assert len(table) == 50


@pytest.mark.parametrize("mode", [PICKLE_MODE, 2, 3, 0])
def test_the_disk_opens_no_other_file(tmp_path: Path, mode: int) -> None:
    disk = StringsOnly(str(tmp_path))
    with pytest.raises(ValueError, match="string"):
        disk.fetch(mode, "name", None, False)
    with pytest.raises(TypeError):
        disk.store(b"bytes", True)
