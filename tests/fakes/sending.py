"""The one place that puts an answer on the wire, exactly as broken as it was ordered."""

import asyncio
from http import HTTPStatus

from tests.fakes.answer import Answer, Ending, Framing
from tests.fakes.journal import Entry
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
            await _send_body(answer, connection, entry)
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


async def _send_body(answer: Answer, connection: Connection, entry: Entry) -> None:
    delivery = answer.delivery
    end = len(answer.body) if delivery.end_at is None else min(delivery.end_at, len(answer.body))
    position = 0
    for stop, gate in sorted(delivery.stops, key=lambda pair: pair[0]):
        position = await _send_until(min(stop, end), position, answer, connection, entry)
        await gate.passed()
    await _send_until(end, position, answer, connection, entry)
    while delivery.endless:
        await _send_piece(answer.body[: delivery.piece] or b"\0" * delivery.piece, answer, connection, entry)
    if delivery.framing is Framing.CHUNKED and delivery.end_at is None:
        await connection.write(b"0\r\n\r\n")


async def _send_until(end: int, start: int, answer: Answer, connection: Connection, entry: Entry) -> int:
    view = memoryview(answer.body)
    while start < end:
        piece = bytes(view[start : min(start + answer.delivery.piece, end)])
        await _send_piece(piece, answer, connection, entry)
        start += len(piece)
    return start


async def _send_piece(piece: bytes, answer: Answer, connection: Connection, entry: Entry) -> None:
    chunked = answer.delivery.framing is Framing.CHUNKED
    await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    entry.sent += len(piece)
    await asyncio.sleep(answer.delivery.pause)


async def _end(answer: Answer, connection: Connection) -> None:
    match answer.delivery.ending:
        case Ending.RST:
            await connection.reset()
        case Ending.FIN:
            connection.close()
        case Ending.KEEP:
            return
