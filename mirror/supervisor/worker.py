"""A worker, as its supervisor sees it: a process of its own, a wire to it, and what it leaves behind."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import aiohttp

import mirror
from mirror.errors import AddressUnavailable, ConfigError
from mirror.supervisor import wire
from mirror.supervisor.connector import WireConnector
from mirror.supervisor.ports import Sockets
from mirror.supervisor.reaper import Reaper
from mirror.supervisor.silence import Silence
from mirror.supervisor.source import Source
from mirror.supervisor.stack import in_a_line
from mirror.supervisor.wire import Wire

_LONGEST_STACK = 64 * 1024


class Worker:
    """Worker `number` of `count`, started now; `sockets` are what it listens on. Needs a running loop.

    Raises OSError where no process can be started.
    """

    def __init__(self, number: int, count: int, sockets: Sockets, source: Source, reaper: Reaper) -> None:
        self.number = number
        self.is_ready = False
        self.is_closed = False
        """Whether it has gone, and what it left has been taken."""
        self.failure: ConfigError | AddressUnavailable | None = None
        """Why it could not serve, if it could say."""
        loop = asyncio.get_running_loop()
        self._settled: asyncio.Future[bool] = loop.create_future()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._will = os.memfd_create("metrics")
        self._stack = os.memfd_create("stack")
        self.silence = Silence(time.monotonic)
        self.is_given_up = False
        """Whether it hung, and was ended for that."""
        ours, theirs = wire.pair()
        with theirs, ExitStack() as undo:
            undo.callback(ours.close)
            for left in (self._will, self._stack):
                undo.callback(os.close, left)
            self._process = _started(number, count, sockets, theirs, (self._will, self._stack), source)
            undo.pop_all()
        self._wire = Wire(ours)
        self._wire.listen(self._heard, lambda: None)
        reaper.watch(self._process.pid, self._has_ended)
        self._session = aiohttp.ClientSession(
            connector=WireConnector(self.connect), auto_decompress=False, timeout=aiohttp.ClientTimeout()
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def session(self) -> aiohttp.ClientSession:
        """Asks its admin side; the host in a URL means nothing."""
        return self._session

    def connect(self) -> socket.socket:
        """Return a new connection to its admin side; raises OSError."""
        if self.is_closed:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "it has ended")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._wire.say(wire.TALK, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return ours

    async def settled(self) -> bool:
        """Wait until it serves, or has ended before; tell whether it serves."""
        return await asyncio.shield(self._settled)

    async def ended(self) -> int:
        """Wait until it has ended, and return its exit code; that of a signal is negative."""
        return await asyncio.shield(self._ended)

    def leave(self) -> None:
        """Have it drain, and end."""
        self._say(wire.STOP)

    def make_way(self) -> None:
        """Have it tell its clients to leave, drain, and end: another has its seat."""
        self._say(wire.REPLACED)

    def hurry(self) -> None:
        """Have it not wait for what is under way."""
        self._say(wire.HURRY)

    def look(self) -> None:
        """See whether it has answered since the last look, and ask again if so."""
        if self.silence.look():
            self._say(wire.ASK)

    def give_up(self) -> None:
        """Have it end, and say where it stands."""
        self.is_given_up = True
        if self._ended.done():
            return
        with suppress(OSError, ValueError):
            # What it would leave is as large as itself, and nobody has asked for it. Where the kernel hands that to a
            # program, a limit of none keeps it from nothing, and one of a byte does.
            resource.prlimit(self.pid, resource.RLIMIT_CORE, (1, 1))
        for wanted in (signal.SIGABRT, signal.SIGCONT):
            # Who is stopped goes on only to do this.
            self._send(wanted)

    def stack(self) -> str:
        """Return where it stood when it crashed or was given up, empty if that is not known, or it was closed."""
        return "" if self.is_closed else in_a_line(os.pread(self._stack, _LONGEST_STACK, 0))

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    async def close(self) -> bytes | None:
        """Return the last page of metrics that it left, empty if it died; None if that has been returned before.

        It has ended, and is not asked any more.
        """
        await self._session.close()
        if self.is_closed:
            return None
        self.is_closed = True
        self._wire.close()
        os.close(self._stack)
        with os.fdopen(self._will, "rb") as will:
            will.seek(0)
            return will.read()

    def _say(self, message: bytes) -> None:
        with suppress(OSError):
            self._wire.say(message)

    def _send(self, wanted: signal.Signals) -> None:
        if not self._ended.done():
            # Not by its Popen, which looks first whether it has ended: what it takes in, the reaper never hears of.
            os.kill(self.pid, wanted)

    def _heard(self, message: bytes, _: Sequence[int]) -> None:
        self.failure = wire.failed(message) or self.failure
        self.silence.heard()
        if message == wire.READY and not self._settled.done():
            self.is_ready = True
            self._settled.set_result(True)

    def _has_ended(self, code: int) -> None:
        # Its last words may not have been read yet.
        self._wire.drain(self._heard)
        self._process.returncode = code
        self.is_ready = False
        self._ended.set_result(code)
        if not self._settled.done():
            self._settled.set_result(False)


def _started(
    number: int, count: int, sockets: Sockets, end: socket.socket, left: tuple[int, int], source: Source
) -> subprocess.Popen[bytes]:
    listening = [one.fileno() for one in sockets]
    inherited = [*listening, end.fileno(), *left, source.descriptor]
    options = {
        "--config": source.path,
        "--number": str(number),
        "--count": str(count),
        "--listening": ",".join(map(str, listening)),
        "--wire": str(end.fileno()),
        "--left": ",".join(map(str, left)),
    }
    command = [*_python(), "-m", "mirror", "worker", *(word for option in options.items() for word in option)]
    # Ctrl-C, and the end of a terminal, reach the whole process group, and are for the supervisor: it tells the others.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=inherited)  # noqa: S603  # the mirror itself
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _python() -> list[str]:
    """Return how Python is started: with modules of the working directory only if the mirror is one of them."""
    is_beside = Path(sys.path[0] or ".").resolve() == Path(mirror.__file__).resolve().parent.parent
    return [sys.executable] if is_beside else [sys.executable, "-P"]
