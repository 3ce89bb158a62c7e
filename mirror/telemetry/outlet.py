"""Where log lines leave the process: in order, whole, and without waiting for whoever reads them.

Lines that there are many of are gathered for a moment. A pipe that nobody empties takes no more; then lines wait in
memory, up to a bound, and beyond that they are lost, and counted. What waits is the log, never the mirror.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from io import UnsupportedOperation
from typing import TextIO

FLUSH_SECONDS = 0.1
"""How long a line is held back at most, so that others can go out with it."""

MOST_WAITING = 1024 * 1024
"""Bytes of lines that wait for a reader; what comes then is lost."""

_AT_ONCE = 32 * 1024
# Bytes beyond which nothing is gathered any more.


class Outlet:
    """A stream of lines, as `logging` wants it, in front of another; `lost` is told how many nobody took."""

    def __init__(self, stream: TextIO, lost: Callable[[int], None]) -> None:
        self._stream = stream
        self._fd = _descriptor(stream)
        self._tell_lost = lost
        self._is_file = self._fd is not None and stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._readiness = _readiness(self._fd)
        self._lock = threading.RLock()
        self._lines = bytearray()
        self._lost = 0
        self._is_due = False

    def gather(self, lines: str) -> None:
        """Write lines with those that come within a moment; without a running loop, at once."""
        self.write(lines)
        if len(self._lines) > _AT_ONCE or not self._flush_soon():
            self.flush()

    def write(self, lines: str) -> None:
        """Write a line or several, their ends included, with the next flush."""
        data = lines.encode("utf-8", "backslashreplace")
        with self._lock:
            room = MOST_WAITING - len(self._lines)
            if len(data) > room:
                kept = data.rfind(b"\n", 0, room) + 1
                self._lost += data.count(b"\n", kept)
                data = data[:kept]
            self._lines += data

    def flush(self) -> None:
        """Write all lines, as far as they are taken now."""
        with self._lock:
            while self._lines and self._takes_some():
                with suppress(OSError, ValueError):
                    # Who has gone away takes nothing, and is no trouble.
                    self._put(self._next_piece())
            lost = 0
            if self._lines:
                self._flush_soon()
            else:
                lost, self._lost = self._lost, 0
        if lost:
            self._tell_lost(lost)

    def _next_piece(self) -> bytes:
        """Take as many whole lines as are taken at once, and another process writes nothing into.

        Those are all of them by a file, and as much as is sure to fit by a pipe that takes some.
        """
        lines = self._lines
        if self._is_file:
            end = len(lines)
        else:
            end = lines.rfind(b"\n", 0, select.PIPE_BUF) + 1 or lines.find(b"\n") + 1 or len(lines)
        piece = bytes(lines[:end])
        del lines[:end]
        return piece

    def _takes_some(self) -> bool:
        return self._readiness is None or bool(self._readiness.poll(0))

    def _put(self, piece: bytes) -> None:
        if self._fd is None:
            self._stream.write(piece.decode())
            self._stream.flush()
            return
        while piece:
            piece = piece[os.write(self._fd, piece) :]

    def _flush_soon(self) -> bool:
        """Have all flushed in a moment; returns False where no loop could do it."""
        if self._is_due:
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._is_due = True
        loop.call_later(FLUSH_SECONDS, self._now_due)
        return True

    def _now_due(self) -> None:
        self._is_due = False
        self.flush()


def _readiness(descriptor: int | None) -> select.poll | None:
    """Return what tells whether a descriptor takes something now; None where nothing has to be asked."""
    if descriptor is None:
        return None
    looking = select.poll()
    looking.register(descriptor, select.POLLOUT)
    return looking


def _descriptor(stream: TextIO) -> int | None:
    """Return what a stream writes to, as far as it is one of the system's."""
    try:
        return stream.fileno()
    except (UnsupportedOperation, AttributeError):
        return None
