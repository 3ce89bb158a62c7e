"""The way out to a client: exact bytes, others in between, nothing sent that has to be waited for, nothing left."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest

from mirror.errors import StoreFailed
from mirror.server import outlet as module
from mirror.server import turns as turns_module
from mirror.server.outlet import STALL_SECONDS, WINDOW, Outlet, Stretch, Watch
from mirror.server.turns import LEAST, Turns
from tests.unit.virtual_time import in_virtual_time

SIZE = 9 * WINDOW + 17
DATA = os.urandom(SIZE)


@dataclass
class Shelf:
    """A file, what was loaded of it, and whether it tells what is."""

    data: bytes = DATA
    tells: bool = True
    loads: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._fd = os.memfd_create("shelf")
        os.truncate(self._fd, len(self.data))
        os.pwrite(self._fd, self.data, 0)

    def fileno(self) -> int:
        return self._fd

    def has(self, start: int, stop: int) -> bool:
        return any(begun <= start and stop <= end for begun, end in self.loads)

    def is_loaded(self, start: int, stop: int) -> bool:
        return self.tells and self.has(start, stop)

    async def load(self, start: int, stop: int) -> None:
        await asyncio.sleep(0)
        self.loads.append((start, stop))

    def close(self) -> None:
        os.close(self._fd)


@dataclass
class Line:
    """A connection: our end of it, and the client's."""

    way: Outlet
    client: socket.socket
    transport: asyncio.Transport

    async def received(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            data += await asyncio.get_running_loop().sock_recv(self.client, size - len(data))
        return bytes(data)


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.set_result(cast(asyncio.Transport, transport))

    server = await loop.create_server(Server, "127.0.0.1", 0)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        transport = await accepted
        way = Outlet(transport, Turns())
        try:
            yield Line(way, client, transport)
        finally:
            way.close()
            transport.abort()
            server.close()
            await server.wait_closed()


@pytest.mark.parametrize("tells", [True, False])
async def test_a_slow_client_gets_exactly_what_was_asked_for(tells: bool) -> None:
    shelf = Shelf(tells=tells)
    async with line() as one:
        sending = asyncio.create_task(one.way.send_file(shelf, 3, SIZE - 5))
        assert await one.received(SIZE - 8) == DATA[3:-5]
        await sending
        await one.way.send_bytes(DATA[:100])
        assert await one.received(100) == DATA[:100]
        assert one.way.sent == SIZE + 92
    shelf.close()


async def test_bytes_of_our_own_go_out_whole_to_a_slow_client() -> None:
    async with line() as one:
        sending = asyncio.create_task(one.way.send_bytes(DATA))
        assert await one.received(SIZE) == DATA
        await sending
        await one.way.send_bytes(b"")
        assert one.way.sent == SIZE


@pytest.mark.parametrize("tells", [True, False])
async def test_nothing_is_sent_that_has_not_been_loaded(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    shelf = Shelf(tells=tells)
    sendfile = os.sendfile

    def checked(target: int, source: int, offset: int, count: int) -> int:
        assert shelf.has(offset, offset + count)
        return sendfile(target, source, offset, count)

    monkeypatch.setattr(os, "sendfile", checked)
    async with line() as one:
        sending = asyncio.create_task(one.way.send_file(shelf, 0, SIZE))
        assert await one.received(SIZE) == DATA
        await sending
    shelf.close()


async def test_others_have_their_turn_however_fast_a_client_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    shelf.loads.append((0, SIZE))
    monkeypatch.setattr(os, "sendfile", lambda target, source, offset, count: count)
    monkeypatch.setattr(turns_module, "TOGETHER", WINDOW)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with line() as one:
        others = asyncio.create_task(take_turns())
        await one.way.send_file(shelf, 0, SIZE)
        assert turns >= SIZE // WINDOW - 1
        others.cancel()
    shelf.close()


async def test_a_rest_that_is_small_goes_along_however_many_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    shelf.loads.append((0, SIZE))
    counts: list[int] = []

    def take_all(target: int, source: int, offset: int, count: int) -> int:
        counts.append(count)
        return count

    monkeypatch.setattr(os, "sendfile", take_all)
    turns = Turns()
    for _ in range(1000):
        turns.share()
    async with line() as one:
        for size in (2 * LEAST, 2 * LEAST + 1):
            stretch = Stretch(shelf, 0, size, turns)
            while not stretch.is_sent:
                stretch.push(one.client.fileno())
    assert counts == [2 * LEAST, LEAST, LEAST + 1]
    shelf.close()


async def test_a_head_leaves_with_what_follows_it_and_is_no_part_of_what_is_counted() -> None:
    shelf = Shelf()
    shelf.loads.append((0, 1000))
    async with line() as one:
        stretch = Stretch(shelf, 0, 1000, Turns(), b"head ")
        one.way.begin(stretch)
        assert (stretch.is_sent, stretch.offset) == (True, 1000)
        assert await asyncio.get_running_loop().sock_recv(one.client, 2000) == b"head " + DATA[:1000]
    shelf.close()


async def test_what_does_not_go_at_once_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    write = os.write
    monkeypatch.setattr(module, "write_more", lambda target, data: write(target, data[:1]))
    monkeypatch.setattr(os, "write", lambda target, data: write(target, data[:1]))
    async with line() as one:
        stretch = Stretch(shelf, 0, SIZE, Turns(), b"head ")
        one.way.begin(stretch)
        assert not stretch.is_sent
        sending = asyncio.create_task(one.way.finish(stretch))
        assert await one.received(SIZE + 5) == b"head " + DATA
        await sending
        assert stretch.offset == SIZE
    shelf.close()


async def test_a_file_that_ends_early_or_cannot_be_read_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    async with line() as one:
        with pytest.raises(StoreFailed, match="shorter"):
            await one.way.send_file(shelf, SIZE, SIZE + 1)

        def broken(*_: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "sendfile", broken)
        with pytest.raises(StoreFailed, match="disk"):
            await one.way.send_file(shelf, 0, SIZE)
    shelf.close()


async def test_a_file_that_ends_early_is_told_of_also_in_the_middle() -> None:
    shelf = Shelf()
    async with line() as one:
        sending = asyncio.create_task(one.way.send_file(shelf, 0, SIZE))
        assert await one.received(1000) == DATA[:1000]
        os.truncate(shelf.fileno(), 2000)
        reading = asyncio.create_task(one.received(SIZE))
        with pytest.raises(StoreFailed, match="shorter"):
            await sending
        reading.cancel()
    shelf.close()


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.05)
    shelf = Shelf()
    async with line() as one:
        with pytest.raises(TimeoutError):
            await one.way.send_file(shelf, 0, SIZE)
    shelf.close()


@in_virtual_time
async def test_a_client_that_takes_a_little_now_and_then_is_not_given_up() -> None:
    loop = asyncio.get_running_loop()
    began = moved_at = loop.time()
    done: asyncio.Future[None] = loop.create_future()
    watch = Watch(loop, done, lambda: moved_at)
    for _ in range(5):
        await asyncio.sleep(STALL_SECONDS - 1)
        moved_at = loop.time()
    assert not done.done()
    with pytest.raises(TimeoutError):
        await done
    assert loop.time() - began == pytest.approx(5 * (STALL_SECONDS - 1) + STALL_SECONDS)
    watch.end()


async def test_a_client_that_has_gone_is_told_of() -> None:
    shelf = Shelf()
    async with line() as one:
        one.transport.abort()
        with pytest.raises(ConnectionResetError):
            await one.way.send_file(shelf, 0, SIZE)
        with pytest.raises(ConnectionResetError):
            await one.way.send_bytes(DATA)
    shelf.close()


async def test_whoever_is_cancelled_leaves_nothing_behind() -> None:
    shelf = Shelf()
    async with line() as one:
        before = len(os.listdir("/proc/self/fd"))
        sending = asyncio.create_task(one.way.send_file(shelf, 0, SIZE))
        await one.received(1000)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        one.way.close()
        one.way.close()
        assert len(os.listdir("/proc/self/fd")) == before
        # It is waited for no longer: what the client takes moves nothing.
        sent = one.way.sent
        assert await one.received(sent - 1000) == DATA[1000:sent]
        assert one.way.sent == sent
    shelf.close()


async def test_what_is_held_leaves_with_what_is_sent() -> None:
    async with line() as one:
        one.way.hold()
        one.transport.write(b"head ")
        await one.way.send_bytes(b"body")
        assert one.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0
        assert await one.received(9) == b"head body"


async def test_nothing_overtakes_what_the_transport_still_has() -> None:
    async with line() as one:
        one.transport.set_write_buffer_limits(high=0)
        one.transport.write(DATA)
        assert one.transport.get_write_buffer_size() > 0
        one.transport.write(b"more")
        reading = asyncio.create_task(one.received(SIZE + 8))
        # That it has nothing left is all that whoever writes past it goes by.
        while one.transport.get_write_buffer_size():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0)
        await one.way.send_bytes(b"body")
        assert await reading == DATA + b"more" + b"body"


async def test_what_is_held_is_let_go_also_where_the_client_has_gone() -> None:
    async with line() as one:
        one.way.hold()
        one.transport.abort()
        while one.transport.get_extra_info("socket").fileno() >= 0:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0)
        with pytest.raises(ConnectionResetError):
            await one.way.send_bytes(b"body")
