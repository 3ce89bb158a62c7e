"""Integrity: a complete body is what was asked for, to the last bit; what came of a cut one is how it begins.

One bit flipped in a committed blob may be seen until somebody looks for it; in a manifest never.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.soak.history import History, Request
from tests.soak.rules.truth import Truth

_RANGE = re.compile(r"(\d*)-(\d*)")


def wrong_bodies(history: History, truth: Truth) -> Iterator[str]:
    """Yield the answers with bytes that are not the content's."""
    for request in history.requests:
        if request.status in {200, 206} and (problem := _problem(request, history, truth)):
            yield f"{problem}: {request}"


def _problem(request: Request, history: History, truth: Truth) -> str | None:
    digest = request.digest or ""
    if not truth.knows(digest) or not (request.is_tag or digest == request.reference):
        return "an answer for another digest"
    if request.method == "HEAD":
        is_true = request.declared in {None, truth.size(digest)} or _was_fed("truncated", digest, request, history)
        return None if is_true else "a HEAD with another length"
    if request.is_whole and (problem := _wrong_extent(request, truth.size(digest))):
        return problem
    flipped_by = request.t1 if request.kind == "blobs" else None
    spans = tuple((start, length) for start, length in request.spans)
    if truth.has(digest, spans, request.received, flipped_by):
        return None
    if request.is_whole:
        return "a complete body with wrong bytes"
    return None if _was_fed("wrong", digest, request, history) else "a cut body that begins with wrong bytes"


def _wrong_extent(request: Request, size: int) -> str | None:
    asked = _asked(request.range, size) if request.status == 206 else [(0, size)]
    if request.declared not in {None, request.length}:
        return "a complete body of another length than declared"
    if [(start, start + length) for start, length in request.spans] != asked:
        return "a complete body of another length than the content"
    return None


def _asked(header: str | None, size: int) -> list[tuple[int, int]]:
    """For each range of this Range header, its first byte and the one behind its last."""
    ranges = _RANGE.findall(header or "bytes=0-")
    assert ranges, header
    return [_ends(first, last, size) for first, last in ranges]


def _ends(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def _was_fed(fault: str, digest: str, request: Request, history: History) -> bool:
    """Whether upstream lied like this before: its word and its bytes pass on unverified, and are cut in the end."""
    return any(
        transfer.fault == fault and transfer.reference == digest and transfer.t0 <= request.t1
        for transfer in history.transfers
    )
