from __future__ import annotations

import io

import pytest

from mirror.cli import scrub_progress
from mirror.cli.scrub_progress import Progress
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.scrubbing.scrub import StoredFile

FILE = StoredFile(Digest.of(b""), 512, Kind.BLOB)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_it_is_counted_and_shown_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub_progress, "_STEP_SECONDS", 0)
    terminal = Terminal()
    progress = Progress(terminal)
    for _ in range(3):
        await progress.passed(FILE)
    progress.clear()
    assert terminal.getvalue().split("\x1b[K\r") == ["1 file, 512 B", "2 files, 1.0 KiB", "3 files, 1.5 KiB", "", ""]


async def test_many_small_files_do_not_flood_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub_progress, "_STEP_SECONDS", 3600)
    terminal = Terminal()
    progress = Progress(terminal)
    for _ in range(1000):
        await progress.passed(FILE)
    assert terminal.getvalue().count("\r") <= 1
    assert str(progress) == "1000 files, 500.0 KiB"


async def test_where_there_is_no_terminal_nothing_is_shown() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    await progress.passed(FILE)
    progress.clear()
    assert stream.getvalue() == ""
    assert str(progress) == "1 file, 512 B"
