"""The Range header, for a blob of known length (RFC 9110, 14.1 and 14.2). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from mirror.errors import RangeNotSatisfiable

MOST_RANGES = 1024
"""Ranges in one request; as many as Podman asks for at most."""

_SET = re.compile(r"[ \t]*bytes[ \t]*=(.*)", re.IGNORECASE | re.ASCII)
_RANGE = re.compile(r"([0-9]{0,99})[ \t]*-[ \t]*([0-9]{0,99})")

_Range = tuple[int | None, int | None]
# The first and the last byte; without the last all that follow the first, without the first so many at the end.


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Return the Content-Range header of this part of a blob of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_ranges(header: str, size: int) -> tuple[Span, ...] | None:
    """Return the spans that a Range header asks for, without those behind the end; None where it is to be ignored.

    Ignored are headers that are malformed and, as the RFC allows, those with more than MOST_RANGES, or with ranges that
    overlap or go backwards: the spans are in ascending order, and together never longer than the blob. `bytes=N-`
    always reaches to the end: dockerd takes nothing less. Raises RangeNotSatisfiable if all of it is behind the end.
    """
    ranges = _parse(header)
    if ranges is None:
        return None
    if size == 0 and any(first is None and last for first, last in ranges):
        # The end of an empty blob is all of it: satisfied, though no Content-Range could say by what.
        return None
    spans = tuple(span for one in ranges if (span := _span(one, size)).size > 0)
    if not spans:
        raise RangeNotSatisfiable(size)
    if any(after.start < before.stop for before, after in pairwise(spans)):
        return None
    return spans


def _parse(header: str) -> list[_Range] | None:
    """Return the ranges, None where they break the grammar or are too many; empty places between commas are none."""
    found = _SET.fullmatch(header)
    texts = [text.strip(" \t") for text in found[1].split(",")] if found else []
    matches = [_RANGE.fullmatch(text) for text in texts if text]
    ranges = [_numbers(match) for match in matches if match]
    is_valid = all(matches) and all(map(_is_valid, ranges))
    return ranges if ranges and is_valid and len(texts) <= MOST_RANGES else None


def _numbers(match: re.Match[str]) -> _Range:
    first, last = (int(number) if number else None for number in match.groups())
    return first, last


def _is_valid(one: _Range) -> bool:
    match one:
        case (None, None):
            return False
        case (int(first), int(last)):
            return first <= last
    return True


def _span(one: _Range, size: int) -> Span:
    match one:
        case (None, int(length)):
            return Span(max(0, size - length), size)
        case (int(first), int(last)):
            return Span(first, min(last + 1, size))
        case (first, _):
            return Span(first or 0, size)
