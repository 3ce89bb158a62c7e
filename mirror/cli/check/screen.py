"""A page of text on a terminal that is drawn anew, in the terminal's other buffer: what was there before comes back."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

_OTHER_BUFFER, _FIRST_BUFFER = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
# With the cursor hidden meanwhile.

_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Screen:
    """Shows one page at a time within its context, and leaves the last one behind."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._page: Sequence[str] = ()

    def __enter__(self) -> Self:
        self._write(_OTHER_BUFFER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(_FIRST_BUFFER + "".join(f"{line}\n" for line in self._page))

    def show(self, page: Sequence[str]) -> None:
        """Show this page, as much of it as there is room for, in place of the one before."""
        self._page = page
        columns, lines = shutil.get_terminal_size()
        shown = [f"{line[: columns - 1]}{_CLEAR_LINE}\n" for line in page[: lines - 1]]
        self._write("".join([_HOME, *shown, _CLEAR_BELOW]))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
