"""Cuts a client off at half of a layer; and holds upstream back until that has happened."""

import fcntl
import socket
import struct
import termios
from collections import Counter
from enum import Enum
from threading import Lock

from .process import wait_until
from .relay import LAYER, Body, Relay, send


class Cut(Enum):
    """The two ways in which a connection ends amid a body, as SO_LINGER has them: at once or after all is sent."""

    RESET = (1, 0)
    END = (0, 0)


class Cutter(Relay):
    """Stands before a mirror: the first answer with a large layer is cut at half, and noted in `cuts`."""

    def __init__(self, origin: str, cut: Cut, cuts: set[str]) -> None:
        super().__init__(origin)
        self._cut = cut
        self._cuts = cuts

    def pass_on(self, body: Body, client: socket.socket) -> None:
        """Sends the whole body, or half of it and raises ConnectionError."""
        if not body.is_layer or body.digest in self._cuts:
            return super().pass_on(body, client)
        send(body.pieces(body.length // 2), client)
        wait_until(lambda: _unacknowledged(client) == 0)  # a reset takes back what is still on its way
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", *self._cut.value))
        self._cuts.add(body.digest)
        raise ConnectionAbortedError(f"{body.digest} was cut")


class Brake(Relay):
    """Stands before an upstream: three quarters of a large layer pass, in parts or not, the rest once it was cut."""

    def __init__(self, origin: str, cuts: set[str]) -> None:
        super().__init__(origin)
        self._cuts = cuts
        self._passed: Counter[str] = Counter()
        self._lock = Lock()

    def pass_on(self, body: Body, client: socket.socket) -> None:
        """Sends the whole body, with a pause in it."""
        if body.whole < LAYER or "/blobs/" not in body.path:
            return super().pass_on(body, client)
        for piece in body.pieces(body.length):
            free = self._take(body, len(piece))
            client.sendall(piece[:free])
            if free < len(piece):
                wait_until(lambda: body.digest in self._cuts)
                client.sendall(piece[free:])

    def _take(self, body: Body, size: int) -> int:
        """How many of the next bytes of a body pass at once."""
        with self._lock:
            free = min(size, body.whole * 3 // 4 - self._passed[body.digest])
            self._passed[body.digest] += free
            return free


def _unacknowledged(connection: socket.socket) -> int:
    """How many bytes the kernel still keeps for the other side."""
    (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    return int(count)
