"""How far a scrub is, on one line of a terminal that whatever is written next takes the place of."""

from __future__ import annotations

import time
from typing import TextIO

from mirror.cli.report import counted, sized
from mirror.proxy.scrubbing.scrub import StoredFile

_STEP_SECONDS = 0.1
_CLEAR = "\x1b[K"


class Progress:
    """Counts files while they pass, and shows it if `stream` is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = stream.isatty()
        self._shown_at = 0.0
        self._files = 0
        self._size = 0

    async def passed(self, file: StoredFile) -> None:
        """Count a file."""
        self._files += 1
        self._size += file.size
        if self._is_shown and time.monotonic() - self._shown_at >= _STEP_SECONDS:
            self._shown_at = time.monotonic()
            self._show(str(self))

    def clear(self) -> None:
        """Leave the line empty."""
        if self._is_shown:
            self._show("")

    def _show(self, text: str) -> None:
        # The cursor goes back to where it was: a line of the log begins there too.
        self._stream.write(f"{text}{_CLEAR}\r")
        self._stream.flush()

    def __str__(self) -> str:
        return f"{counted(self._files, 'file')}, {sized(self._size)}"
