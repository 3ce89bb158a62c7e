"""A document served whole or in part: conditional requests and single byte ranges."""

import re
from dataclasses import replace

from tests.fakes.answer import Answer
from tests.fakes.request import Request

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def ranged(answer: Answer, request: Request) -> Answer:
    """The 206 or 416 this request asks for, or the whole answer."""
    span = _RANGE.fullmatch(request.header("Range") or "")
    condition = request.header("If-Range")
    if span is None or condition not in {None, answer.header("ETag")} or span.group() == "bytes=-":
        return answer
    size = len(answer.body)
    start, end = _bounds(span[1], span[2], size)
    if start >= size or end < start:
        refused = answer.with_header("Content-Range", f"bytes */{size}")
        return replace(refused, status=416, body=b"", whole=answer)
    return part_of(answer, start, end)


def part_of(whole: Answer, first: int, last: int) -> Answer:
    """The 206 with these bytes, both included, of this 200."""
    part = whole.with_header("Content-Range", f"bytes {first}-{last}/{len(whole.body)}")
    return replace(part, status=206, body=whole.body[first : last + 1], whole=whole)


def unmodified(answer: Answer, request: Request) -> Answer:
    """304 if the client holds this entity already."""
    held = (request.header("If-None-Match") or "").split(",")
    etag = answer.header("ETag")
    if etag is not None and etag.strip('"') in {one.strip().strip('"') for one in held}:
        return replace(answer, status=304, body=b"")
    return answer


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
