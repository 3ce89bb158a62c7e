"""A client that has the kernel throw bodies away: as many connections as wanted, on one core, never the bottleneck.

On Linux a TCP socket that is read with MSG_TRUNC gives up its bytes without copying them.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.clients.connection import Connection

DEADLINE = 300.0
"""Seconds after which a server that sends nothing more counts as hanging."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What came of one request, in seconds since all of them were sent and in bytes."""

    first_byte: float
    whole: float
    size: int


@dataclass(frozen=True, slots=True)
class Flow:
    """What came during a time: bytes, whole answers, and what 99 in 100 of these took at most."""

    seconds: float
    size: int
    answers: int
    p99: float


def fetch(url: str, paths: Sequence[str], token: str | None = None) -> list[Transfer]:
    """Ask for all paths at once, each on a connection of its own, and read all answers to their ends."""
    with _connected(url, len(paths), token) as (connections, ready):
        began = time.monotonic()
        for connection, path in zip(connections, paths, strict=True):
            connection.ask(path)
        left = set(connections)
        while left:
            for connection in ready(began + DEADLINE):
                if connection.read():
                    left.discard(connection)
    return [Transfer(one.first_byte - began, one.finished - began, one.size) for one in connections]


def flow(url: str, paths: Sequence[str], clients: int, seconds: float) -> Flow:
    """Have this many connections ask for the paths in turn, again and again, for so long; bytes of a part count."""
    with _connected(url, clients, None) as (connections, ready):
        began = time.monotonic()
        for number, connection in enumerate(connections):
            connection.ask(paths[number % len(paths)])
        turn, took = clients, []
        while time.monotonic() < began + seconds:
            for connection in ready(began + seconds + DEADLINE):
                if connection.read():
                    took.append(connection.finished - connection.asked)
                    connection.ask(paths[turn % len(paths)])
                    turn += 1
        spent = time.monotonic() - began
    took.sort()
    return Flow(spent, sum(one.total for one in connections), len(took), took[len(took) * 99 // 100] if took else spent)


Ready = Callable[[float], list[Connection]]


@contextmanager
def _connected(url: str, count: int, token: str | None) -> Iterator[tuple[list[Connection], Ready]]:
    """Open connections, and return them with what waits until some can be read; raises TimeoutError past its time."""
    where = urlsplit(url)
    assert where.hostname is not None  # noqa: S101  # ours
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        connections = []
        for _ in range(count):
            opened = stack.enter_context(socket.create_connection((where.hostname, where.port or 80), timeout=DEADLINE))
            connection = Connection(opened, where.netloc, token)
            selector.register(opened, selectors.EVENT_READ, connection)
            connections.append(connection)

        def ready(deadline: float) -> list[Connection]:
            found = selector.select(max(0.0, deadline - time.monotonic()))
            if not found:
                raise TimeoutError(f"{url} sends nothing")
            return [key.data for key, _ in found]

        yield connections, ready
