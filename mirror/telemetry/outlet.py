"""Where log lines leave the process: in order, whole, and without waiting for whoever reads them.

Lines that there are many of are gathered for a moment. A pipe that nobody empties takes no more; then lines wait in
memory, up to a bound, and beyond that they are lost, and counted. What waits is the log, never the mirror.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections import deque
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
        self._lock = threading.RLock()
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._lost = 0
        self._is_due = False

    def gather(self, line: str) -> None:
        """Write a line with those that come within a moment; without a running loop, at once."""
        self.write(line)
        if self._waiting > _AT_ONCE or not self._flush_soon():
            self.flush()

    def write(self, line: str) -> None:
        """Write a line, its end included, with the next flush."""
        data = line.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._waiting + len(data) > MOST_WAITING:
                self._lost += 1
                return
            self._lines.append(data)
            self._waiting += len(data)

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
        """Take as many whole lines as a pipe that takes some takes at once, and another process writes nothing into."""
        piece = self._lines.popleft()
        lines = [piece]
        size = len(piece)
        while self._lines and size + len(self._lines[0]) <= select.PIPE_BUF:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        self._waiting -= size
        return b"".join(lines)

    def _takes_some(self) -> bool:
        if self._fd is None:
            return True
        looking = select.poll()
        looking.register(self._fd, select.POLLOUT)
        return bool(looking.poll(0))

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


def _descriptor(stream: TextIO) -> int | None:
    """Return what a stream writes to, as far as it is one of the system's."""
    try:
        return stream.fileno()
    except (UnsupportedOperation, AttributeError):
        return None
