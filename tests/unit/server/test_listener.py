from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from mirror.errors import AddressUnavailable
from mirror.proxy.events.gathering import Gathering
from mirror.server.listener import Listener, bare_runner
from mirror.server.requests import Requests
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle

PATIENCE = 5


class Work:
    """A handler that waits for its gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.cut = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.begun.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cut = True
            raise
        if request.path == "/broken":
            raise ZeroDivisionError
        return web.Response(text="done")


# Counting. -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_with_no_request_there_is_nothing_to_wait_for() -> None:
    await asyncio.wait_for(Requests().finished(), 1)


@pytest.mark.parametrize("path", ["/fine", "/broken"])
@in_virtual_time
async def test_the_last_request_is_waited_for_however_it_ends(path: str) -> None:
    requests, work = Requests(), Work()
    handle = requests.counted(work)
    first, second = (asyncio.ensure_future(handle(make_mocked_request("GET", path))) for _ in range(2))
    await settle()
    waiting = asyncio.create_task(requests.finished())
    first.cancel()
    await settle()
    assert first.cancelled()
    assert not waiting.done()
    work.gate.set()
    await waiting
    results = await asyncio.gather(second, return_exceptions=True)
    assert isinstance(results[0], web.Response if path == "/fine" else ZeroDivisionError)


@in_virtual_time
async def test_after_the_last_one_others_may_come() -> None:
    requests, work = Requests(), Work()
    handle = requests.counted(work)
    work.gate.set()
    await handle(make_mocked_request("GET", "/"))
    await asyncio.wait_for(requests.finished(), 1)
    work.gate.clear()
    later = asyncio.ensure_future(handle(make_mocked_request("GET", "/")))
    await settle()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(requests.finished(), 1)
    work.gate.set()
    await later
    await asyncio.wait_for(requests.finished(), 1)


# Stopping, with a real socket. -----------------------------------------------------------------------------


class Connection:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, listener: Listener) -> Connection:
        host, _, port = listener.address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def ask(self) -> None:
        self._writer.write(b"GET / HTTP/1.1\r\nHost: mirror\r\n\r\n")

    async def sent(self, listener: Listener) -> None:
        """Wait until the listener has read all that was asked: another connection has been served since."""
        other = await Connection.to(listener)
        other._writer.write(b"not http\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            await other._reader.read()
        await other.close()

    async def answer(self) -> bytes:
        """Return the next answer, or what of it came before the connection was closed."""
        async with asyncio.timeout(PATIENCE):
            head = b""
            while not head.endswith(b"\r\n\r\ndone"):
                data = await self._reader.read(1)
                if not data:
                    return head
                head += data
            return head

    async def closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@pytest.fixture
async def work() -> Work:
    """What requests lead to."""
    return Work()


@pytest.fixture
async def listener(work: Work) -> AsyncIterator[Listener]:
    """A listener on a port of its own."""
    opened = Listener("listen", "127.0.0.1", 0, bare_runner(work, Gathering(Recorder()), Requests()), Recorder())
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
async def busy(listener: Listener, work: Work) -> AsyncIterator[Connection]:
    """A connection whose request is being answered."""
    connection = await Connection.to(listener)
    work.begun.clear()
    connection.ask()
    await asyncio.wait_for(work.begun.wait(), PATIENCE)
    yield connection
    await connection.close()


@pytest.fixture
async def idle(listener: Listener, work: Work) -> AsyncIterator[Connection]:
    """A connection whose first request was answered."""
    connection = await Connection.to(listener)
    work.gate.set()
    connection.ask()
    assert (await connection.answer()).startswith(b"HTTP/1.1 200")
    work.gate.clear()
    yield connection
    await connection.close()


async def test_a_listener_that_stops_accepting_finishes_what_it_began(
    listener: Listener, work: Work, busy: Connection
) -> None:
    await listener.stop_accepting()
    with pytest.raises(ConnectionRefusedError):
        await Connection.to(listener)
    work.gate.set()
    assert (await busy.answer()).startswith(b"HTTP/1.1 200")
    assert await busy.closed()
    assert not work.cut


async def test_a_listener_that_stops_accepting_closes_idle_connections(listener: Listener, idle: Connection) -> None:
    await listener.stop_accepting()
    assert await idle.closed()


async def test_no_request_is_left_without_an_answer_by_a_listener_that_stops_accepting(
    listener: Listener, idle: Connection, work: Work
) -> None:
    # A client may reuse its connection at any time: it is answered or cut, not kept waiting for the end of the drain.
    await listener.stop_accepting()
    work.gate.set()
    idle.ask()
    with suppress(ConnectionError):
        await idle.answer()


async def test_a_farewell_answers_what_is_asked_on_idle_and_busy_connections_and_says_that_it_is_the_last(
    listener: Listener, idle: Connection, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.listener.FAREWELL_SECONDS", 3600)
    busy = await Connection.to(listener)
    work.begun.clear()
    busy.ask()
    await asyncio.wait_for(work.begun.wait(), PATIENCE)
    farewell = asyncio.create_task(listener.say_farewell())
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await Connection.to(listener)
    work.gate.set()
    assert b"close" not in await busy.answer()
    for connection in (idle, busy):
        connection.ask()
        assert b"\r\nconnection: close\r\n" in (await connection.answer()).lower()
        assert await connection.closed()
    await asyncio.wait_for(farewell, PATIENCE)
    await busy.close()


async def test_the_last_of_several_requests_that_wait_is_the_one_that_ends_a_connection(
    listener: Listener, work: Work, busy: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.listener.FAREWELL_SECONDS", 3600)
    for _ in range(2):
        busy.ask()
    await busy.sent(listener)
    farewell = asyncio.create_task(listener.say_farewell())
    await asyncio.sleep(0)
    work.gate.set()
    answers = [(await busy.answer()).lower() for _ in range(3)]
    assert [b"connection: close" in answer for answer in answers] == [False, False, True]
    assert await busy.closed()
    await asyncio.wait_for(farewell, PATIENCE)


async def test_a_farewell_ends_though_clients_stay(
    listener: Listener, idle: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.listener.FAREWELL_SECONDS", 0)
    await asyncio.wait_for(listener.say_farewell(), PATIENCE)
    await listener.stop_accepting()
    assert await idle.closed()


async def test_a_listener_that_stops_cuts_what_is_left(listener: Listener, work: Work, busy: Connection) -> None:
    await listener.stop_accepting()
    await listener.stop_accepting()
    await asyncio.wait_for(listener.stop(), PATIENCE)
    assert work.cut
    assert await busy.closed()


async def test_a_listener_that_never_started_can_be_stopped(work: Work) -> None:
    never = Listener("listen", "127.0.0.1", 0, bare_runner(work, Gathering(Recorder()), Requests()), Recorder())
    await never.stop_accepting()
    await never.stop()


async def test_an_address_in_use_is_said_to_be(listener: Listener, work: Work) -> None:
    host, _, port = listener.address.rpartition(":")
    second = Listener("admin.listen", host, int(port), bare_runner(work, Gathering(Recorder()), Requests()), Recorder())
    with pytest.raises(AddressUnavailable, match="is in use") as raised:
        await second.start()
    assert raised.value.key == "admin.listen"
    await second.stop()
