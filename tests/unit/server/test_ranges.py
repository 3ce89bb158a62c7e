from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import RangeNotSatisfiable
from mirror.server.ranges import Span, parse_range

sizes = st.integers(0, 2**45)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-", 0, 100),
        ("bytes=40-", 40, 100),
        ("bytes=99-", 99, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10-99", 10, 100),
        ("bytes=10-100", 10, 100),
        ("bytes=10-999999", 10, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-100", 0, 100),
        ("bytes=-101", 0, 100),
        ("Bytes=1-2", 1, 3),
        (" bytes = 1 - 2 ", 1, 3),
        ("bytes=00000001-0000002", 1, 3),
    ],
)
def test_one_range(header: str, start: int, stop: int) -> None:
    assert parse_range(header, 100) == Span(start, stop)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=20-10",
        "bytes=0-1,5-6",
        "bytes=0-1,",
        "bytes=--1",
        "items=0-1",
        "0-1",
        "bytes=0x1-2",
        "bytes=1.5-2",
        "bytes=+1-2",
        "bytes=0-1;x",
        "bytes=\u0661-",
        "bytes 0-1/100",
    ],
)
def test_what_is_ignored(header: str) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=999-", "bytes=-0"])
def test_what_is_behind_the_end(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        parse_range(header, 100)
    assert raised.value.size == 100


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_nothing_of_an_empty_blob_can_be_asked_for(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 0)


def test_a_range_beyond_all_numbers_is_not_the_whole() -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(f"bytes={10**17}-", 100)


@given(st.integers(0, 2**46), sizes)
def test_an_open_range_reaches_the_end(first: int, size: int) -> None:
    try:
        span = parse_range(f"bytes={first}-", size)
    except RangeNotSatisfiable:
        assert first >= size
    else:
        assert span == Span(first, size)


@given(st.integers(0, 2**46), st.integers(0, 2**46), sizes)
def test_a_closed_range_is_what_the_rfc_says(first: int, last: int, size: int) -> None:
    try:
        span = parse_range(f"bytes={first}-{last}", size)
    except RangeNotSatisfiable:
        assert size <= first <= last
        return
    if last < first:
        assert span is None
    else:
        assert span == Span(first, min(last + 1, size))


@given(st.text("bytes=-0123456789, ", max_size=20) | st.text(max_size=20), sizes)
def test_a_span_lies_within_the_blob(header: str, size: int) -> None:
    try:
        span = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    if span is not None:
        assert 0 <= span.start < span.stop <= size
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", span.content_range(size))
        assert match is not None
        assert [int(number) for number in match.groups()] == [span.start, span.stop - 1, size]
