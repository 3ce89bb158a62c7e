"""What a worker does: it serves on sockets that are not its own, for as long as its supervisor wants and lives."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import generate_latest

from mirror.app import Mirror
from mirror.composition.garbage import search_seldom
from mirror.composition.place import Place
from mirror.config import load
from mirror.errors import AddressUnavailable, ConfigError
from mirror.server.handed import HandedConnections
from mirror.server.open_files import raise_limit
from mirror.supervisor import wire
from mirror.supervisor.wire import Wire
from mirror.telemetry.logs import Logs, set_up


@dataclass(frozen=True, slots=True)
class Inherited:
    """What its supervisor gave a worker; descriptors are numbers."""

    number: int
    count: int
    listening: tuple[int, ...]
    wire: int
    will: int
    stack: int

    def place(self) -> Place:
        """Return where it stands."""
        sockets = [socket.socket(fileno=descriptor) for descriptor in self.listening]
        return Place(sockets, self.count, leads=self.number == 1)


async def work(config_file: Path, inherited: Inherited) -> None:
    """Serve until told to stop; raises ConfigError or AddressUnavailable, which the supervisor has been told, too."""
    # Where it stood is told by whoever finds out that it died, or hung.
    faulthandler.enable(inherited.stack, all_threads=False)
    raise_limit()
    to_supervisor = Wire(socket.socket(fileno=inherited.wire))
    orders = _Orders(lambda: _say(to_supervisor, wire.WELL))
    to_supervisor.listen(orders.heard, orders.stop.set)
    loop = asyncio.get_running_loop()
    # Of whoever signals a worker itself, or all processes of a unit: that is one wish, and no hurry.
    loop.add_signal_handler(signal.SIGTERM, orders.stop.set)
    try:
        config = load(config_file)
        logs = Logs(set_up(config.log.level, config.log.format, worker=inherited.number))
        await _serve(Mirror(config, place=inherited.place(), logs=logs), inherited, to_supervisor, orders)
    except (ConfigError, AddressUnavailable) as error:
        _say(to_supervisor, wire.failure(error))
        raise
    finally:
        to_supervisor.close()


async def _serve(mirror: Mirror, inherited: Inherited, to_supervisor: Wire, orders: _Orders) -> None:
    orders.mirror = mirror
    async with mirror.running():
        search_seldom()
        _say(to_supervisor, wire.READY)
        await orders.stop.wait()
    os.pwrite(inherited.will, generate_latest(mirror.metrics.registry), 0)


class _Orders:
    """What the supervisor wants."""

    def __init__(self, say_well: Callable[[], None]) -> None:
        self._say_well = say_well
        self.stop = asyncio.Event()
        self.mirror: Mirror | None = None

    def heard(self, message: bytes, descriptors: Sequence[int]) -> None:
        """Do what a message says."""
        match message:
            case wire.ASK:
                self._say_well()
            case wire.STOP:
                self.stop.set()
            case wire.REPLACED:
                if self.mirror is not None:
                    self.mirror.is_replaced = True
                self.stop.set()
            case wire.HURRY if self.mirror is not None:
                self.stop.set()
                self.mirror.hurry()
        for descriptor in descriptors:
            self._talk(descriptor)

    def _talk(self, descriptor: int) -> None:
        if self.mirror is not None and isinstance(self.mirror.admin, HandedConnections):
            self.mirror.admin.take(descriptor)
        else:
            os.close(descriptor)


def _say(to_supervisor: Wire, message: bytes) -> None:
    try:
        to_supervisor.say(message)
    except OSError:
        # It has ended, which is noticed anyway.
        return
