"""Who connects is let in, or waits: with real clients, and a listening socket that fails when it is told to."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from aiohttp import web

from mirror.proxy.events.connections import AcceptFailed
from mirror.server import accepting
from mirror.server.accepting import Arrivals, Door
from mirror.server.sockets import all_bound, places
from tests.unit.recorder import Recorder

PATIENCE = 10


class Listening(socket.socket):
    """A listening socket on loopback whose next calls of `accept` fail as told."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.failures: list[int] = []
        self.steps: list[str] = []

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            raise OSError(self.failures.pop(0), "told to fail")
        accepted = super().accept()
        self.steps.append("accepted")
        return accepted


class Greeting(asyncio.Protocol):
    """Says hello, and keeps its transport."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._hall.transports.append(transport)
        transport.write(b"hello")  # type: ignore[attr-defined]  # it can be written to


class Hall(web.Server):
    """A server that keeps whom it is given."""

    def __init__(self) -> None:
        self.transports: list[Any] = []

    def __call__(self) -> Any:
        return Greeting(self)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def listening() -> Iterator[Listening]:
    """Closed by its door."""
    opened = Listening()
    yield opened
    assert opened.fileno() == -1


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    """Ends all connections at the end."""
    made = Hall()
    yield made
    for transport in made.transports:
        transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def door(listening: Listening, hall: Hall, recorder: Recorder) -> AsyncIterator[Door]:
    """Open, with a short pause where clients cannot be taken."""
    made = Door([listening], hall, recorder)
    made.open()
    yield made
    await made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could not be taken is tried again at once."""
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.01)


def client(listening: Listening) -> socket.socket:
    """Return a client's end, connected as far as the kernel is concerned."""
    made = socket.create_connection(listening.getsockname())
    made.setblocking(False)
    return made


async def greeted(one: socket.socket) -> bool:
    """Tell whether hello comes before the end of the connection."""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionResetError):
            return await asyncio.get_running_loop().sock_recv(one, 100) == b"hello"
    return False


@pytest.mark.usefixtures("door")
async def test_who_connects_is_let_in_on_a_socket_like_any_other(listening: Listening, hall: Hall) -> None:
    with client(listening) as one:
        assert await greeted(one)
        [transport] = hall.transports
        accepted = transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not os.get_inheritable(accepted.fileno())
        assert not os.get_blocking(accepted.fileno())
        assert transport.get_extra_info("peername") == one.getsockname()


@pytest.mark.usefixtures("door", "impatient")
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
async def test_who_cannot_be_taken_waits_and_is_let_in_later(
    listening: Listening, recorder: Recorder, code: int
) -> None:
    listening.failures = [code, code]
    with client(listening) as one, client(listening) as other:
        assert await greeted(one)
        assert await greeted(other)
    assert [event.error.errno for event in recorder.of(AcceptFailed)] == [code, code]


@pytest.mark.usefixtures("door")
async def test_while_clients_wait_the_loop_does_not_look_at_them(
    listening: Listening, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 3600)
    listening.failures = [errno.EMFILE] * 1000
    with client(listening):
        for _ in range(100):
            await asyncio.sleep(0.001)
    assert len(recorder.of(AcceptFailed)) == 1


@pytest.mark.usefixtures("door")
async def test_who_has_gone_again_keeps_nobody_waiting(listening: Listening, recorder: Recorder) -> None:
    listening.failures = [errno.ECONNABORTED]
    with client(listening) as one:
        assert await greeted(one)
    assert recorder.events == []


async def test_others_have_their_turn_however_many_come(
    listening: Listening, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "AT_ONCE", 2)
    clients = [client(listening) for _ in range(7)]

    async def take_turns() -> None:
        while True:
            listening.steps.append("turn")
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    for one in clients:
        assert await greeted(one)
        one.close()
    others.cancel()
    rows = " ".join(listening.steps).split("turn")
    assert max(row.count("accepted") for row in rows) <= 2
    assert sum(row.count("accepted") for row in rows) == 7


async def test_who_is_in_when_the_door_closes_has_arrived_and_who_is_not_is_refused(
    listening: Listening, door: Door, hall: Hall
) -> None:
    address = listening.getsockname()
    with client(listening) as one:
        while not listening.steps:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0)
        await door.close()
        assert len(hall.transports) == 1
        assert await greeted(one)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


@pytest.mark.usefixtures("door")
async def test_a_fleet_that_comes_while_the_loop_is_busy_waits_in_the_queue(listening: Listening, hall: Hall) -> None:
    with ExitStack() as stack:
        # There is nobody to let them in before the next turn.
        address = listening.getsockname()
        fleet = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(200)]
        for one in fleet:
            one.setblocking(False)
            assert await greeted(one)
    assert len(hall.transports) == 200


@pytest.mark.usefixtures("impatient")
async def test_a_door_can_be_closed_while_clients_wait(listening: Listening, door: Door, recorder: Recorder) -> None:
    listening.failures = [errno.EMFILE]
    with client(listening) as one:
        while not recorder.events:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0)
        await door.close()
        await door.close()
        await asyncio.sleep(0.05)
        assert not await greeted(one)


async def test_a_connection_that_cannot_be_served_is_closed(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise OSError(errno.ENOTCONN, "told to fail")

    monkeypatch.setattr(type(asyncio.get_running_loop()), "connect_accepted_socket", fail)
    ours, theirs = socket.socketpair()
    with theirs:
        arrivals = Arrivals()
        arrivals.take(ours, hall)
        await arrivals.settled()
        assert theirs.recv(1) == b""


# Sockets. --------------------------------------------------------------------------------------------------


async def test_a_name_may_mean_several_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 7)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 7)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 7)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert [where for _, where in await places("here", 7)] == [("127.0.0.1", 7), ("127.0.0.2", 7)]
    assert [where for _, where in await places("here", 0)] == [("127.0.0.1", 7)]


class WithoutIPv6(socket.socket):
    """A socket of a machine that has IPv6 switched off, or does not know of it."""

    code = errno.EADDRNOTAVAIL

    def bind(self, address: Any) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(self.code, os.strerror(self.code))
        super().bind(address)


@pytest.mark.parametrize("code", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_a_family_that_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    here, lacking = (socket.AF_INET, ("127.0.0.1", 7)), (socket.AF_INET6, ("::1", 7, 0, 0))
    found = [(family, socket.SOCK_STREAM, 6, "", where) for family, where in (lacking, here)]
    monkeypatch.setattr(WithoutIPv6, "code", code)
    monkeypatch.setattr(socket, "socket", WithoutIPv6)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert await places("localhost", 0) == [here]
    found.pop()
    # There is nothing else: whoever binds it learns why that cannot be.
    assert await places("::1", 7) == [lacking]
    with pytest.raises(OSError, match=os.strerror(code)):
        all_bound([lacking])


async def test_who_listens_everywhere_leaves_the_port_of_the_other_family_alone() -> None:
    [everywhere] = all_bound([(socket.AF_INET, ("0.0.0.0", 0))])
    with everywhere:
        everywhere.listen()
        if socket.has_dualstack_ipv6():
            [other] = all_bound([(socket.AF_INET6, ("::", everywhere.getsockname()[1], 0, 0))])
            other.close()


async def test_an_address_can_be_had_at_once_by_who_had_it_before_and_parted_from_clients() -> None:
    [former] = all_bound([(socket.AF_INET, ("127.0.0.1", 0))])
    former.listen()
    address = former.getsockname()
    with socket.create_connection(address) as one:
        former.accept()[0].close()
        former.close()
        assert one.recv(1) == b""
    [again] = all_bound([(socket.AF_INET, address)])
    again.close()


async def test_either_all_sockets_are_bound_or_none() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            all_bound([(socket.AF_INET, ("127.0.0.3", port)), (socket.AF_INET, ("127.0.0.2", port))])
        [again] = all_bound([(socket.AF_INET, ("127.0.0.3", port))])
        again.close()
