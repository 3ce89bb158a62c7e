"""One connection of the reader: asks, looks at the head of the answer, and forgets the body as it comes."""

from __future__ import annotations

import re
import socket
import time

_WINDOW = 4 * 1024 * 1024
_NOWHERE = bytearray(_WINDOW)
"""Names a length to recv_into; with MSG_TRUNC nothing is written there."""

_ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"


class UnexpectedAnswer(Exception):
    """A server said something else than 200, or told no length."""


class Connection:
    """Times are of the monotonic clock: `asked`, `first_byte` of the body, `finished`. `total` counts all bodies."""

    def __init__(self, opened: socket.socket, host: str, token: str | None = None) -> None:
        opened.setblocking(False)
        self._socket = opened
        self._headers = f"Host: {host}\r\nAccept: {_ACCEPT}\r\nUser-Agent: benchmark\r\n"
        if token is not None:
            self._headers += f"Authorization: Bearer {token}\r\n"
        self.total = 0
        self._reset()

    def _reset(self) -> None:
        self.asked = time.monotonic()
        self.first_byte = self.finished = 0.0
        self.size = 0
        self._head = b""
        self._left = -1

    def ask(self, path: str) -> None:
        """Send a GET; the answer before it has been read to its end."""
        self._reset()
        self._socket.send(f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())

    def read(self) -> bool:
        """Take what has come, and tell whether the answer is whole; raises UnexpectedAnswer, and OSError when cut."""
        if self._left < 0:
            self._read_head()
        elif self._left:
            self._took(self._socket.recv_into(_NOWHERE, min(self._left, _WINDOW), socket.MSG_TRUNC))
        return self._left == 0

    def _read_head(self) -> None:
        data = self._socket.recv(64 * 1024)
        if not data:
            raise ConnectionResetError("closed before an answer")
        head, end, body = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head = head
            return
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if head.split(b" ", 2)[1] != b"200" or length is None:
            raise UnexpectedAnswer(head.decode("latin-1").partition("\r\n")[0])
        self._left = self.size = int(length[1])
        if body or not self._left:
            self._took(len(body))

    def _took(self, count: int) -> None:
        if not count and self._left:
            raise ConnectionResetError(f"cut {self._left} bytes before the end")
        now = time.monotonic()
        self.first_byte = self.first_byte or now
        self.total += count
        self._left -= count
        if not self._left:
            self.finished = now
