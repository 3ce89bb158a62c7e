"""What supervisor and worker tell each other: short messages over a pair of sockets, connections along with them.

Nothing of it is in the file system, and nobody else can listen. Its end is the end of the other process.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress

from mirror.errors import AddressUnavailable, ConfigError

READY = b"ready"
"""Of a worker: it serves."""

STOP = b"stop"
"""Of the supervisor: take no more connections, let what is under way finish, and end."""

REPLACED = b"replaced"
"""Of the supervisor: as `STOP`, but another has the seat already, so clients can be told that they are to leave."""

HURRY = b"hurry"
"""Of the supervisor: do not wait for what is under way."""

ASK = b"well?"
"""Of the supervisor: say something."""

WELL = b"well"
"""Of the worker: its loop turns."""

TALK = b"talk"
"""Of the supervisor, along with a connection: somebody has something to ask of the admin side."""

_FAILED = b"failed "
_LONGEST = 8 * 1024

Heard = Callable[[bytes, list[int]], None]


class Wire:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)
        self._listening = False

    def listen(self, heard: Heard, ended: Callable[[], None]) -> None:
        """Have `heard` called with each message and the descriptors that came along, `ended` once nobody is there."""
        self._listening = True
        asyncio.get_running_loop().add_reader(self._end.fileno(), self._read, heard, ended)

    def _read(self, heard: Heard, ended: Callable[[], None]) -> None:
        # All there is: libuv looks only once more at a socket whose other end is gone.
        while self._listening:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._end, _LONGEST, 1)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if message:
                heard(message, list(descriptors))
            else:
                self._stop_listening()
                ended()

    def drain(self, heard: Heard) -> None:
        """Have `heard` called with what came and was not read; who sent it has ended."""
        while self._listening:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._end, _LONGEST, 1)
            except OSError:
                return
            if not message:
                return
            heard(message, list(descriptors))

    def say(self, message: bytes, descriptor: int | None = None) -> None:
        """Send a message; raises OSError where nobody takes it."""
        socket.send_fds(self._end, [message], [] if descriptor is None else [descriptor])

    def close(self) -> None:
        """Neither hear nor say anything any more."""
        self._stop_listening()
        self._end.close()

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            asyncio.get_running_loop().remove_reader(self._end.fileno())


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends, for a Wire each."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def failure(error: ConfigError | AddressUnavailable) -> bytes:
    """Return the message of a worker that cannot serve."""
    problem = str(error).removeprefix(f"{error.key}: ") if error.key else str(error)
    return _FAILED + json.dumps([isinstance(error, ConfigError), error.key, problem[:1000]]).encode()


def failed(message: bytes) -> ConfigError | AddressUnavailable | None:
    """Return the error that such a message is of, None for another message."""
    if message.startswith(_FAILED):
        with suppress(ValueError):
            is_config, key, problem = json.loads(message.removeprefix(_FAILED))
            return (ConfigError if is_config else AddressUnavailable)(key, problem)
    return None
