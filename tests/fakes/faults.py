"""Faults: functions that turn a healthy answer into a bad one. `both(...)` puts several on one answer."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from functools import reduce

from tests.fakes.answer import Answer, Ending, Framing, error
from tests.fakes.gate import Gate
from tests.fakes.script import Fault

_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}
_HTML = b"<!doctype html><title>Sign in</title><p>Please accept the terms of this network.</p>"


def healthy(answer: Answer) -> Answer:
    """No fault: holds a place in a sequence."""
    return answer


def both(*faults: Fault) -> Fault:
    """These faults on the same answer, applied from left to right."""
    return lambda answer: reduce(lambda spoiled, fault: fault(spoiled), faults, answer)


# When


def delay(seconds: float) -> Fault:
    """Wait before the headers."""
    return lambda answer: answer.deliver(delay=seconds)


def hold(gate: Gate) -> Fault:
    """Wait before the headers until the gate is opened."""
    return lambda answer: answer.deliver(hold=gate)


def stop_at(byte: int, gate: Gate) -> Fault:
    """Send that many bytes of this body, then wait until the gate is opened."""
    return lambda answer: answer.deliver(stops=(*answer.delivery.stops, (byte, gate)))


def slow(piece: int, pause: float) -> Fault:
    """Send the body in pieces of that size with a pause after each."""
    return lambda answer: answer.deliver(piece=piece, pause=pause)


def drip_from(byte: int, pause: float) -> Fault:
    """Send that many bytes of this body, then one byte at a time with a pause after each."""
    return lambda answer: answer.deliver(drip_from=byte, pause=pause)


def rate(bytes_per_second: float) -> Fault:
    """Send the body no faster than this on average."""
    return lambda answer: answer.deliver(rate=bytes_per_second)


# How far


def cut_at(byte: int) -> Fault:
    """Reset the connection (RST) after that many bytes of this body have arrived."""
    return lambda answer: answer.deliver(end_at=byte, ending=Ending.RST)


def cut_every(count: int) -> Fault:
    """As `cut_at`, but a body that is no longer than that arrives: to be made lasting."""
    return lambda answer: cut_at(count)(answer) if len(answer.body) > count else answer


def short_body(byte: int) -> Fault:
    """Declare the whole length, send fewer bytes, close in order (FIN)."""
    return lambda answer: answer.deliver(end_at=byte, ending=Ending.FIN)


def truncated(byte: int) -> Fault:
    """A body cut at the origin: complete to HTTP, its Content-Length the shorter one."""
    return lambda answer: replace(answer, body=answer.body[:byte])


def endless(answer: Answer) -> Answer:
    """A chunked body that goes on until the client leaves."""
    return answer.deliver(endless=True, framing=Framing.CHUNKED)


def dropped(answer: Answer) -> Answer:
    """Close the connection without any answer."""
    return answer.deliver(raw=b"", ending=Ending.FIN)


def raw(data: bytes) -> Fault:
    """These bytes instead of an HTTP answer, then close."""
    return lambda answer: answer.deliver(raw=data, ending=Ending.FIN)


# What


def wrong_bytes(at: int | None = None) -> Fault:
    """Flip one byte (the middle one if not said): right length, wrong digest."""

    def spoil(answer: Answer) -> Answer:
        body = bytearray(answer.body)
        if body:
            body[len(body) // 2 if at is None else at] ^= 0xFF
        return replace(answer, body=bytes(body))

    return spoil


def other_body(data: bytes) -> Fault:
    """Another body under the same headers."""
    return lambda answer: replace(answer, body=data)


def html(answer: Answer) -> Answer:
    """The log-in page of a captive portal: 200, HTML, no registry headers."""
    return Answer(200, (("Content-Type", "text/html; charset=utf-8"),), _HTML, answer.delivery)


def gzip_encoded(answer: Answer) -> Answer:
    """The body compressed in transit, whatever the client accepts."""
    encoded = answer.with_header("Content-Encoding", "gzip")
    return replace(encoded, body=gzip.compress(answer.body, mtime=0))


# How it is declared


def declared_length(length: int) -> Fault:
    """Another Content-Length than the body has; the connection is closed after it."""
    return lambda answer: answer.deliver(declared=length, ending=Ending.FIN)


def chunked(answer: Answer) -> Answer:
    """No Content-Length: chunked coding."""
    return answer.deliver(framing=Framing.CHUNKED)


def until_close(answer: Answer) -> Answer:
    """No Content-Length, no chunks: the end of the connection is the end of the body."""
    return answer.deliver(framing=Framing.CLOSE, ending=Ending.FIN)


def header(name: str, value: str | None) -> Fault:
    """Another value for a header; None leaves it out."""
    return lambda answer: answer.with_header(name, value)


def repeated_header(name: str, value: str) -> Fault:
    """One more header of that name."""
    return lambda answer: replace(answer, headers=(*answer.headers, (name, value)))


def content_type(value: str | None) -> Fault:
    return header("Content-Type", value)


def content_digest(value: str | None) -> Fault:
    """Another Docker-Content-Digest; None leaves it out."""
    return header("Docker-Content-Digest", value)


def status(code: int, retry_after: int | str | None = None, error_code: str | None = None) -> Fault:
    """An error answer in the specification's form, with Retry-After if given."""

    def refuse(_: Answer) -> Answer:
        headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
        return error(code, error_code or _CODES.get(code, "UNAVAILABLE"), f"scripted {code}", *headers)

    return refuse


def answer_with(status_code: int, body: bytes, media_type: str = "application/json") -> Fault:
    """This status and this body instead of the healthy answer."""
    return lambda _: Answer(status_code, (("Content-Type", media_type),), body)


def meanwhile(act: Callable[[], object], then: Fault = healthy) -> Fault:
    """Do something at the moment this answer is ready (move the tag between HEAD and GET), then send it."""

    def interfere(answer: Answer) -> Answer:
        act()
        return then(answer)

    return interfere
