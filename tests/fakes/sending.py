"""The one place that puts an answer on the wire, exactly as broken as it was ordered."""

import asyncio
from http import HTTPStatus

from tests.fakes.answer import Answer, Ending, Framing
from tests.fakes.journal import Entry
from tests.fakes.pace import Pace
from tests.fakes.request import Request
from tests.fakes.wire import Connection


async def send(answer: Answer, request: Request, connection: Connection, entry: Entry) -> None:
    """Deliver the answer and note in the journal how far it came."""
    delivery = answer.delivery
    await asyncio.sleep(delivery.delay)
    if delivery.hold is not None:
        await delivery.hold.passed()
    entry.status = answer.status
    if delivery.raw is not None:
        await connection.write(delivery.raw)
    else:
        await connection.write(_head(answer))
        if _has_body(answer, request):
            await _Body(answer, connection, entry).send()
    entry.complete = delivery.end_at is None and delivery.raw is None
    await _end(answer, connection)


def _has_body(answer: Answer, request: Request) -> bool:
    return request.method != "HEAD" and answer.status not in {204, 304}


def _head(answer: Answer) -> bytes:
    fields = list(answer.headers)
    delivery = answer.delivery
    if delivery.framing is Framing.CHUNKED:
        fields.append(("Transfer-Encoding", "chunked"))
    elif delivery.framing is Framing.LENGTH and answer.status not in {204, 304}:
        declared = len(answer.body) if delivery.declared is None else delivery.declared
        fields.append(("Content-Length", str(declared)))
    if delivery.ending is not Ending.KEEP and delivery.end_at is None:
        fields.append(("Connection", "close"))
    lines = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}", *(f"{k}: {v}" for k, v in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"


class _Body:
    """The body of one answer on its way: pieces, pauses, gates, and an end that may come early or never."""

    def __init__(self, answer: Answer, connection: Connection, entry: Entry) -> None:
        self._body = answer.body
        self._delivery = answer.delivery
        self._chunked = answer.delivery.framing is Framing.CHUNKED
        self._pace = Pace(answer.delivery.rate)
        self._connection = connection
        self._entry = entry

    async def send(self) -> None:
        delivery = self._delivery
        end = len(self._body) if delivery.end_at is None else min(delivery.end_at, len(self._body))
        position = 0
        for stop, gate in sorted(delivery.stops, key=lambda pair: pair[0]):
            position = await self._send_until(min(stop, end), position)
            await gate.passed()
        await self._send_until(end, position)
        while delivery.endless:
            await self._send_piece(self._body[: delivery.piece] or b"\0" * delivery.piece, delivery.pause)
        if self._chunked and delivery.end_at is None:
            await self._connection.write(b"0\r\n\r\n")

    async def _send_until(self, end: int, start: int) -> int:
        view = memoryview(self._body)
        while start < end:
            size, pause = self._pace_at(start)
            piece = bytes(view[start : min(start + size, end)])
            await self._send_piece(piece, pause)
            start += len(piece)
        return start

    def _pace_at(self, position: int) -> tuple[int, float]:
        """How many bytes to send at once there, and how many seconds to wait then."""
        delivery = self._delivery
        if delivery.drip_from is None:
            return delivery.piece, delivery.pause
        if position >= delivery.drip_from:
            return 1, delivery.pause
        return min(delivery.piece, delivery.drip_from - position), 0.0

    async def _send_piece(self, piece: bytes, pause: float) -> None:
        await self._pace.turn()
        await self._connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
        self._entry.sent += len(piece)
        self._pace.sent(len(piece))
        if pause:
            await asyncio.sleep(pause)


async def _end(answer: Answer, connection: Connection) -> None:
    match answer.delivery.ending:
        case Ending.RST:
            await connection.reset()
        case Ending.FIN:
            connection.close()
        case Ending.KEEP:
            return
