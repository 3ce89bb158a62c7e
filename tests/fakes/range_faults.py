"""Faults in answers to a Range: each turns a healthy 206 (or 416) into what careless servers send instead."""

from dataclasses import replace

from tests.fakes.answer import Answer
from tests.fakes.ranges import part_of
from tests.fakes.script import Fault

_BOUNDARY = "fake-boundary"
_OTHER_ETAG = '"another-object"'


def ignored(answer: Answer) -> Answer:
    """The range ignored: 200 with everything."""
    return _whole(answer)


def unsatisfiable(answer: Answer) -> Answer:
    """416, whatever was asked for."""
    whole = _whole(answer)
    refused = whole.with_header("Content-Range", f"bytes */{len(whole.body)}")
    return replace(refused, status=416, body=b"", whole=whole)


def other_part(first: int, last: int | None = None) -> Fault:
    """206 with other bytes than were asked for, properly declared; up to the end if `last` is not said."""

    def spoil(answer: Answer) -> Answer:
        whole = _whole(answer)
        return part_of(whole, first, len(whole.body) - 1 if last is None else last)

    return spoil


def multipart(answer: Answer) -> Answer:
    """The right bytes, wrapped as multipart/byteranges."""
    fields = f"Content-Type: application/octet-stream\r\nContent-Range: {answer.header('Content-Range')}"
    head = f"--{_BOUNDARY}\r\n{fields}\r\n\r\n".encode()
    body = head + answer.body + f"\r\n--{_BOUNDARY}--\r\n".encode()
    wrapped = answer.with_header("Content-Range", None)
    return replace(wrapped.with_header("Content-Type", f"multipart/byteranges; boundary={_BOUNDARY}"), body=body)


def replaced(data: bytes) -> Fault:
    """Another object is there by now, and the server sees by If-Range that it is: 200 with all of it."""
    return lambda answer: replace(_whole(answer).with_header("ETag", _OTHER_ETAG), body=data)


def replaced_unnoticed(data: bytes) -> Fault:
    """Another object is there by now, and the server knows no If-Range: 206 with this part of it."""

    def spoil(answer: Answer) -> Answer:
        first = len(_whole(answer).body) - len(answer.body)
        whole = replace(_whole(answer).with_header("ETag", _OTHER_ETAG), body=data)
        return part_of(whole, first, len(data) - 1)

    return spoil


def _whole(answer: Answer) -> Answer:
    if answer.whole is None:
        raise ValueError("a fault of a range, but no range was asked for")
    return replace(answer.whole, delivery=answer.delivery)
