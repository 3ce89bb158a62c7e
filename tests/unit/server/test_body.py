from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from mirror.errors import BodyCut
from mirror.proxy.cache_status import Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.server.body import CHUNK, send_unmeasured
from mirror.server.exchange import Exchange
from mirror.server.outlet import STALL_SECONDS, WINDOW
from tests.unit.proxy.doubles import MemoryFile
from tests.unit.virtual_time import in_virtual_time

DATA = os.urandom(5 * CHUNK + 17)


class Growing(MemoryFile):
    """A body of unknown length that grows by so much a step, and may be cut."""

    size = None
    is_whole = False

    def __init__(self, step: int, cut_at: int | None = None) -> None:
        fd = os.memfd_create("body")
        os.write(fd, DATA)
        super().__init__(fd, Counter())
        self._step = step
        self._end = 0
        self._cut_at = cut_at

    async def sendable(self, offset: int) -> int:
        if self._cut_at is not None and offset >= self._cut_at:
            raise BodyCut("upstream sent bytes that do not have the blob's digest")
        if offset == self._end:
            self._end = min(self._end + self._step, len(DATA))
        return self._end

    async def verified(self) -> None:
        raise NotImplementedError

    async def doubt(self) -> None:
        raise NotImplementedError


class Client(web.StreamResponse):
    """What is written to a client who takes so long for every piece."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.ended = False
        self._seconds = seconds
        self.status_when_first_written: int | None = None
        self.exchange = Exchange(make_mocked_request("GET", "/"), RequestFinished("GET", "/", "client"))

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write(self, data: object) -> None:
        if not self.pieces:
            self.status_when_first_written = self.exchange.note.status
        await asyncio.sleep(self._seconds)
        self.pieces.append(cast(bytes, data))

    async def write_eof(self, data: object = b"") -> None:
        self.ended = True

    async def receive(self, body: Growing) -> RequestFinished:
        try:
            await send_unmeasured(self.exchange, self, body)
        finally:
            body.close()
        return self.exchange.note


@pytest.mark.parametrize("step", [1000, CHUNK, CHUNK + 1, len(DATA)])
@in_virtual_time
async def test_a_body_without_a_length_goes_out_in_small_pieces(step: int) -> None:
    client = Client()
    note = await client.receive(Growing(step))
    assert b"".join(client.pieces) == DATA
    assert max(map(len, client.pieces)) <= CHUNK
    assert client.ended
    assert (note.sent, note.cause) == (len(DATA), None)


@in_virtual_time
async def test_the_status_is_noted_as_soon_as_the_client_has_it() -> None:
    client = Client()
    await client.receive(Growing(1000))
    assert client.status_when_first_written == 200


@in_virtual_time
async def test_a_slow_client_is_not_one_that_takes_nothing() -> None:
    client = Client(STALL_SECONDS - 1)
    assert (await client.receive(Growing(len(DATA)))).cause is None
    assert client.ended


@in_virtual_time
async def test_a_client_who_takes_nothing_is_cut() -> None:
    client = Client(STALL_SECONDS + 1)
    note = await client.receive(Growing(len(DATA)))
    assert (note.cause, note.sent, note.status) == ("the client took nothing for 60 s", 0, 200)
    assert not client.ended


@in_virtual_time
async def test_a_body_that_is_cut_does_not_end_well() -> None:
    client = Client()
    note = await client.receive(Growing(CHUNK, cut_at=2 * CHUNK))
    assert not client.ended
    assert (note.outcome, note.sent, note.status) == (Outcome.ERROR, 2 * CHUNK, 200)
    assert note.cause is not None
    assert note.cause.startswith("body cut: ")


def test_a_piece_is_small_enough_for_a_slow_client() -> None:
    assert CHUNK <= 64 * 1024 < WINDOW
