"""Connections that are opened beside a request: as many as are said, and nothing is asked on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from mirror.errors import UpstreamUnreachable
from mirror.upstream.egress import Egress, Outgoing
from mirror.upstream.proxy import Proxy
from mirror.upstream.spares import Spares
from tests.integration.waiting import until


class Listener:
    """Answers what it is asked once it is `open`, and knows on which of its connections it was asked."""

    def __init__(self) -> None:
        self.url = URL()
        self.connections = 0
        self.asked_on: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked_on.append(number)
                await self.open.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    listener = Listener()
    async with await asyncio.start_server(listener.serve, "127.0.0.1", 0) as server:
        listener.url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2/")
        yield listener


@asynccontextmanager
async def leaving() -> AsyncIterator[Egress]:
    egress = Egress("test", lambda: "mirror-test")
    await egress.start()
    try:
        yield egress
    finally:
        await egress.close()


async def ask(egress: Egress, listener: Listener, spares: int, **fields: object) -> None:
    outgoing = Outgoing("GET", listener.url, private_network=True, spares=spares, **fields)  # type: ignore[arg-type]
    response = await egress.open(outgoing)
    assert await response.read() == b"{}"


def opening() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("spare")]


async def test_they_are_opened_while_the_request_waits_and_asked_nothing() -> None:
    async with listening() as listener, leaving() as egress:
        listener.open.clear()
        asking = asyncio.create_task(ask(egress, listener, 3))
        await until(lambda: listener.connections == 4, "three are opened beside the request's")
        assert listener.asked_on == [1]
        listener.open.set()
        await asking


async def test_the_request_keeps_the_connection_that_is_there() -> None:
    async with listening() as listener, leaving() as egress:
        await ask(egress, listener, 0)
        listener.open.clear()
        asking = asyncio.create_task(ask(egress, listener, 3))
        await until(lambda: listener.connections == 4, "three are opened")
        listener.open.set()
        await asking
        assert listener.asked_on == [1, 1]


async def test_what_follows_takes_them_and_those_that_are_idle_count() -> None:
    async with listening() as listener, leaving() as egress:
        for wanted in (1, 3, 3):
            listener.open.clear()
            asking = [asyncio.create_task(ask(egress, listener, wanted))]
            await until(lambda: bool(listener.asked_on) and not opening(), "there are as many")
            assert listener.connections == wanted + 1
            asking += [asyncio.create_task(ask(egress, listener, 0)) for _ in range(wanted)]
            await until(lambda count=wanted: len(listener.asked_on) == count + 1, "all of them ask")  # type: ignore[misc]
            assert sorted(listener.asked_on) == [*range(1, wanted + 2)]
            listener.asked_on.clear()
            listener.open.set()
            await asyncio.gather(*asking)


async def test_requests_at_once_open_them_once() -> None:
    async with listening() as listener, leaving() as egress:
        await asyncio.gather(*(ask(egress, listener, 3) for _ in range(5)))
        await until(lambda: listener.connections == 8, "three beside those of five")


async def test_by_a_proxy_there_are_none() -> None:
    async with listening() as proxy, leaving() as egress:
        for _ in range(2):
            await ask(egress, proxy, 3, proxy=Proxy(proxy.url.with_path("/")))
        assert proxy.connections == 1


async def test_nobody_hears_of_their_failure() -> None:
    async with leaving() as egress:
        async with listening() as listener:
            gone = listener.url
        spares = Spares(egress._sessions[True])
        spares.open(gone, True, 3)
        [task] = opening()
        await task


async def test_an_address_that_may_not_be_asked_is_not_connected_to_either() -> None:
    async with listening() as listener, leaving() as egress:
        with pytest.raises(UpstreamUnreachable):
            await egress.open(Outgoing("GET", listener.url, private_network=False, spares=3))
        await ask(egress, listener, 0)
        assert listener.connections == 1


async def test_who_stops_does_not_wait_for_them() -> None:
    async with listening() as listener, leaving() as egress:
        spares = Spares(egress._sessions[True])
        # It never shakes hands.
        spares.open(listener.url.with_scheme("https"), True, 3)
        await until(lambda: listener.connections == 3, "it is connected to")
        [task] = opening()
        await spares.close()
        assert task.cancelled()


async def test_a_mirror_that_stops_leaves_none_half_open() -> None:
    async with listening() as listener, leaving() as egress:
        # It never shakes hands, neither with the request nor with them.
        url = listener.url.with_scheme("https")
        asking = asyncio.create_task(egress.open(Outgoing("GET", url, private_network=True, spares=3)))
        await until(lambda: listener.connections == 4, "it is connected to")
        [task] = opening()
        await egress.close()
        assert task.cancelled()
        asking.cancel()
        await asyncio.wait([asking])
