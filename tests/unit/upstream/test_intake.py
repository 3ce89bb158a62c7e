"""How long bodies are received: into memory that is bounded, and no byte of the next answer with them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from mirror.upstream import buffers
from mirror.upstream.intake import Intake

BUFFER = 64 * 1024
SHORT = 2 * BUFFER
HEAD = b"what came with the headers"


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "FIRST", BUFFER)
    monkeypatch.setattr(buffers, "LARGE", BUFFER)
    monkeypatch.setattr(buffers, "WORTH", BUFFER)
    monkeypatch.setattr(buffers, "LASTING", SHORT)


class Line(asyncio.Transport):
    """A connection whose other side has `data` to send, and sends it whenever it is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.left = data
        self.protocol: asyncio.BaseProtocol | None = None
        self._is_read = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self._is_read = False

    def resume_reading(self) -> None:
        self._is_read = True

    def is_closing(self) -> bool:
        return False

    def send(self, most: int) -> int:
        """Have up to so many bytes read; returns how many were."""
        sent = 0
        while isinstance(self.protocol, Intake) and self._is_read and sent < most and self.left:
            room = self.protocol.get_buffer(-1)
            size = min(len(room), most - sent, len(self.left))
            room[:size] = self.left[:size]
            self.left = self.left[size:]
            self.protocol.buffer_updated(size)
            sent += size
        return sent


@dataclass
class Meeting:
    """An intake, the connection it reads from, and who that belongs to."""

    line: Line
    owner: ResponseHandler
    content: aiohttp.StreamReader
    intake: Intake


async def meet(body: bytes, next_one: bytes = b"") -> Meeting:
    """Return an intake of HEAD, which has come already, and `body`; `next_one` follows on the connection."""
    line, owner, length = Line(body + next_one), ResponseHandler(asyncio.get_running_loop()), len(HEAD) + len(body)
    owner.connection_made(line)
    owner.set_response_params()
    owner.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, HEAD))
    _, content = await owner.read()
    return Meeting(line, owner, content, Intake(content, owner, length))


def numbered(size: int) -> bytes:
    """Bytes of which none of 2^16 in a row are like others."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


async def all_of(meeting: Meeting, most: int | None = None, piece: int = 10_000) -> bytes:
    """Read to the end while the other side sends in pieces."""
    received = bytearray()
    while True:
        meeting.line.send(piece)
        data = await meeting.intake.read(most)
        if not data:
            return bytes(received)
        received += data


@pytest.mark.parametrize("size", [1, SHORT, SHORT + 1, 3 * BUFFER + 12_345])
@pytest.mark.parametrize("most", [None, 7_001])
@pytest.mark.parametrize("piece", [10_000, 10 * BUFFER])
async def test_a_body_arrives_byte_for_byte(size: int, most: int | None, piece: int) -> None:
    body = numbered(size)
    assert await all_of(await meet(body), most, piece) == HEAD + body


async def test_the_connection_goes_back_to_its_owner_behind_the_body() -> None:
    body = numbered(BUFFER + 5)
    meeting = await meet(body)
    assert await all_of(meeting, piece=10 * BUFFER) == HEAD + body
    assert meeting.line.protocol is meeting.owner
    assert meeting.content.is_eof()
    assert not meeting.owner.should_close
    assert len(await meeting.intake.read()) == 0


@pytest.mark.parametrize("size", [BUFFER, SHORT - 1, SHORT, SHORT + 5, SHORT + BUFFER])
@pytest.mark.parametrize("piece", [10_000, 10 * BUFFER])
async def test_a_connection_on_which_more_comes_than_was_declared_is_not_used_again(size: int, piece: int) -> None:
    # Who asks next would take it for the answer.
    body = numbered(size)
    meeting = await meet(body, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert await all_of(meeting, piece=piece) == HEAD + body
    assert meeting.line.protocol is meeting.owner
    assert meeting.content.is_eof()
    assert meeting.owner.should_close


async def test_whoever_sends_is_held_back_while_nobody_reads() -> None:
    meeting = await meet(numbered(10 * BUFFER))
    assert meeting.line.send(10 * BUFFER) == BUFFER
    assert meeting.line.send(10 * BUFFER) == 0
    assert await meeting.intake.read() == HEAD
    assert meeting.line.send(10 * BUFFER) == 0
    assert len(await meeting.intake.read()) == BUFFER
    assert meeting.line.send(10 * BUFFER) == BUFFER


async def test_what_was_read_stays_as_it_is_for_two_more_calls() -> None:
    body = numbered(6 * BUFFER)
    meeting = await meet(body)
    await meeting.intake.read()
    pieces = []
    for number in range(5):
        meeting.line.send(BUFFER)
        pieces.append(await meeting.intake.read())
        meeting.line.send(BUFFER)
        start = max(0, number - 1)
        assert b"".join(pieces[start:]) == body[start * BUFFER : (number + 1) * BUFFER]


async def test_what_was_read_of_a_short_body_stays_as_it_is() -> None:
    body = numbered(SHORT)
    meeting = await meet(body)
    pieces = [await meeting.intake.read()]
    while pieces[-1]:
        meeting.line.send(1_000)
        pieces.append(await meeting.intake.read())
    assert len(pieces) > SHORT // 1_000
    assert b"".join(pieces) == HEAD + body


async def test_a_call_that_is_cancelled_takes_nothing_along() -> None:
    body = numbered(2 * BUFFER)
    meeting = await meet(body)
    assert await meeting.intake.read() == HEAD
    reading = asyncio.create_task(meeting.intake.read())
    await asyncio.sleep(0)
    meeting.line.send(1000)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await all_of(meeting) == body


@pytest.mark.parametrize("cause", [None, ConnectionResetError("reset")], ids=["end", "reset"])
async def test_a_cut_is_told_behind_what_came_before_it(cause: Exception | None) -> None:
    body = numbered(2 * BUFFER)
    meeting = await meet(body)
    meeting.line.send(1000)
    meeting.intake.eof_received()
    meeting.intake.connection_lost(cause)
    assert [bytes(await meeting.intake.read()) for _ in range(2)] == [HEAD, body[:1000]]
    for _ in range(2):
        with pytest.raises(aiohttp.ClientPayloadError) as told:
            await meeting.intake.read()
        assert told.value.__cause__ is cause
    assert not meeting.owner.is_connected()


async def test_whoever_waits_learns_of_a_cut() -> None:
    meeting = await meet(numbered(BUFFER))
    await meeting.intake.read()
    reading = asyncio.create_task(meeting.intake.read())
    await asyncio.sleep(0)
    meeting.intake.eof_received()
    with pytest.raises(aiohttp.ClientPayloadError):
        await reading


async def test_a_connection_that_closes_behind_the_body_is_known_to_be_closed() -> None:
    meeting = await meet(numbered(BUFFER))
    meeting.line.send(BUFFER)
    meeting.intake.connection_lost(None)
    assert await all_of(meeting) == HEAD + numbered(BUFFER)
    assert not meeting.owner.connected
