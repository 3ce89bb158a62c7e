from __future__ import annotations

import io
import os
from typing import Any

import pytest

from mirror.cli.warm.bars import Bars, bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def image(name: str, done: int = 0, total: int | None = None) -> dict[str, Any]:
    return {"image": name, "bytes": done, "total_bytes": total}


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [
        (0, None, "[                        ] a  asking"),
        (0, 2048, "[                        ] a  0 B of 2.0 KiB"),
        (1024, 2048, "[############            ] a  1.0 KiB of 2.0 KiB"),
        (4096, 2048, "[########################] a  4.0 KiB of 2.0 KiB"),
        (0, 0, "[                        ] a  asking"),
    ],
)
def test_a_bar_is_as_full_as_the_image(done: int, total: int | None, shown: str) -> None:
    assert bar(image("a", done, total)) == shown


def test_bars_take_the_place_of_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    terminal = Terminal()
    bars = Bars(terminal)
    bars.show([image("first"), image("x" * 100)])
    assert [len(line) for line in terminal.getvalue().splitlines()] == [40, 59]
    before = len(terminal.getvalue())
    bars.show([image("second")])
    assert terminal.getvalue()[before:].startswith("\x1b[2A\r\x1b[J[")
    bars.clear()
    bars.clear()
    assert terminal.getvalue().endswith("second  asking\n\x1b[1A\r\x1b[J")


def test_what_is_no_terminal_is_left_alone() -> None:
    stream = io.StringIO()
    bars = Bars(stream)
    bars.show([image("a")])
    bars.clear()
    assert stream.getvalue() == ""


def test_a_name_is_harmless_to_a_terminal() -> None:
    assert "\x1b" not in bar(image("\x1b[2J"))
