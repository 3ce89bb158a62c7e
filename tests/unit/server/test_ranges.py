from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import RangeNotSatisfiable
from mirror.server.ranges import MOST_RANGES, Span, parse_ranges

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
        (f"bytes=10-{'9' * 99}", 10, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-100", 0, 100),
        ("bytes=-101", 0, 100),
        (f"bytes=-{'9' * 99}", 0, 100),
        ("Bytes=1-2", 1, 3),
        (" bytes = 1 - 2 ", 1, 3),
        ("bytes=00000001-0000002", 1, 3),
        ("bytes=0-1,", 0, 2),
        ("bytes=, ,\t0-1", 0, 2),
        ("bytes=0-1,100-", 0, 2),
        ("bytes=200-300,-0,98-", 98, 100),
    ],
)
def test_one_range(header: str, start: int, stop: int) -> None:
    assert parse_ranges(header, 100) == (Span(start, stop),)


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-0,2-2", [(0, 1), (2, 3)]),
        ("bytes=0-0,1-1", [(0, 1), (1, 2)]),
        ("bytes=0-9 , 20-29\t,-1", [(0, 10), (20, 30), (99, 100)]),
        ("bytes=0-9,,,20-", [(0, 10), (20, 100)]),
        ("bytes=0-9,100-200,20-29", [(0, 10), (20, 30)]),
        ("bytes=0-9,90-9999", [(0, 10), (90, 100)]),
    ],
)
def test_several_ranges(header: str, spans: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 100) == tuple(Span(*span) for span in spans)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=20-10",
        "bytes=200-110",
        "bytes=--1",
        "bytes=1-2-3",
        "items=0-1",
        "byte\u017f=0-1",
        "0-1",
        "bytes=0x1-2",
        "bytes=1.5-2",
        "bytes=+1-2",
        "bytes=0-1;x",
        "bytes=0-1;5-6",
        "bytes=\u0661-",
        "bytes 0-1/100",
        f"bytes=1-{'9' * 100}",
        "bytes=0-1,5",
        "bytes=0-1,x-y",
        "bytes=0-1,9-5",
        "bytes=0-1, bytes=5-6",
        "bytes=100-,a",
    ],
)
def test_what_is_malformed_is_ignored(header: str) -> None:
    assert parse_ranges(header, 100) is None


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-9,9-19",
        "bytes=0-,0-",
        "bytes=0-0,0-0",
        "bytes=10-19,0-9",
        "bytes=-5,0-0",
        "bytes=90-,-5",
        "bytes=0-,-1",
    ],
)
def test_ranges_that_overlap_or_go_backwards_are_ignored(header: str) -> None:
    assert parse_ranges(header, 100) is None


def test_as_many_ranges_as_podman_asks_for_and_no_more() -> None:
    ranges = [f"{2 * number}-{2 * number}" for number in range(MOST_RANGES)]
    assert parse_ranges("bytes=" + ",".join(ranges), 10_000) == tuple(
        Span(2 * number, 2 * number + 1) for number in range(MOST_RANGES)
    )
    assert parse_ranges("bytes=" + ",".join([*ranges, "9000-"]), 10_000) is None
    assert parse_ranges("bytes=0-0" + "," * MOST_RANGES, 10_000) is None


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=999-", "bytes=-0", "bytes=100-,200-", f"bytes={'9' * 99}-"]
)
def test_what_is_behind_the_end(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        parse_ranges(header, 100)
    assert raised.value.size == 100


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=0-,5-6"])
def test_an_empty_blob_has_no_first_byte(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(header, 0)


@pytest.mark.parametrize("header", ["bytes=-1", "bytes=-500", "bytes=0-0,-5"])
def test_the_end_of_an_empty_blob_is_all_of_it(header: str) -> None:
    assert parse_ranges(header, 0) is None


@dataclass(frozen=True)
class Asked:
    """A range as somebody writes it: `text`, and which bytes that is of a blob of 100 bytes; None for nonsense."""

    text: str
    wanted: range | None


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    numbers = st.integers(0, 120)
    first, last = draw(numbers), draw(numbers)
    written = "{:0{}d}".format
    zeros = draw(st.integers(1, 5))
    match draw(st.sampled_from(["closed", "open", "suffix"])):
        case "closed":
            wanted = range(first, last + 1) if first <= last else None
            return Asked(f"{written(first, zeros)}-{written(last, zeros)}", wanted)
        case "open":
            return Asked(f"{written(first, zeros)}-", range(first, 1000))
    return Asked(f"-{written(first, zeros)}", range(100 - first, 100))


@given(st.lists(asked(), min_size=1, max_size=6), st.sampled_from([",", ", ", " ,\t", ",,", " , , "]))
def test_a_set_is_what_a_simple_model_says(several: list[Asked], comma: str) -> None:
    header = "bytes=" + comma.join(one.text for one in several)
    there = [[n for n in one.wanted if 0 <= n < 100] for one in several if one.wanted is not None]
    in_order = list(chain(*there))
    try:
        spans = parse_ranges(header, 100)
    except RangeNotSatisfiable:
        assert len(there) == len(several)
        assert not in_order
        return
    if spans is None:
        assert len(there) < len(several) or in_order != sorted(set(in_order))
    else:
        assert [list(range(span.start, span.stop)) for span in spans] == [wanted for wanted in there if wanted]
        assert in_order == sorted(set(in_order))


@given(st.integers(0, 2**46), sizes)
def test_an_open_range_reaches_the_end(first: int, size: int) -> None:
    try:
        spans = parse_ranges(f"bytes={first}-", size)
    except RangeNotSatisfiable:
        assert first >= size
    else:
        assert spans == (Span(first, size),)


@given(st.integers(0, 2**46), st.integers(0, 2**46), sizes)
def test_a_closed_range_is_what_the_rfc_says(first: int, last: int, size: int) -> None:
    try:
        spans = parse_ranges(f"bytes={first}-{last}", size)
    except RangeNotSatisfiable:
        assert size <= first <= last
        return
    if last < first:
        assert spans is None
    else:
        assert spans == (Span(first, min(last + 1, size)),)


@given(
    st.text("bytes=-0123456789, ", max_size=20)
    | st.text("-0123456789, ", max_size=20).map("bytes={}".format)
    | st.text(max_size=20),
    sizes,
)
def test_spans_lie_within_the_blob_and_go_forward(header: str, size: int) -> None:
    try:
        spans = parse_ranges(header, size)
    except RangeNotSatisfiable:
        return
    for span in spans or ():
        assert 0 <= span.start < span.stop <= size
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", span.content_range(size))
        assert match is not None
        assert [int(number) for number in match.groups()] == [span.start, span.stop - 1, size]
    assert all(before.stop <= after.start for before, after in pairwise(spans or ()))
