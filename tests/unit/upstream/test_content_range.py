from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.content_range import ContentRange, parse_content_range

numbers = st.integers(0, 10**18 - 1)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes 0-0/1", ContentRange(0, 0, 1)),
        ("bytes 40-99/100", ContentRange(40, 99, 100)),
        ("bytes 40-98/100", ContentRange(40, 98, 100)),
        ("bytes 40-99/*", ContentRange(40, 99, None)),
        ("Bytes 40-99/100", ContentRange(40, 99, 100)),
        (" bytes 40-99/100\t", ContentRange(40, 99, 100)),
        ("bytes 0040-0099/00100", ContentRange(40, 99, 100)),
    ],
)
def test_a_part(header: str, part: ContentRange) -> None:
    assert parse_content_range(header) == part


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes ",
        "bytes */100",
        "bytes */*",
        "bytes 40-99",
        "bytes 40-99/",
        "bytes 40-/100",
        "bytes -99/100",
        "bytes 99-40/100",
        "bytes 40-100/100",
        "bytes 0-0/0",
        "bytes=40-99/100",
        "bytes  40-99/100",
        "bytes\n40-99/100",
        "bytes 40 - 99 / 100",
        "items 40-99/100",
        "40-99/100",
        "bytes 0x1-2/3",
        "bytes +1-2/3",
        "bytes 1.0-2/3",
        "bytes 1_0-20/30",
        "bytes \u0661-2/3",
        "bytes 40-99/100, bytes 40-99/100",
        "bytes 40-99/100\n",
        "bytes 40-99/100;x",
        f"bytes 0-1/{10**18}",
        f"bytes 0-{'9' * 5000}/*",
    ],
)
def test_what_is_none(header: str) -> None:
    assert parse_content_range(header) is None


@given(numbers, numbers, numbers | st.none())
def test_what_is_written_is_read(first: int, last: int, total: int | None) -> None:
    part = parse_content_range(f"bytes {first}-{last}/{'*' if total is None else total}")
    possible = first <= last and (total is None or last < total)
    assert part == (ContentRange(first, last, total) if possible else None)


@given(st.text(max_size=40) | st.text("bytes 0123456789-/*,\t", max_size=40))
def test_no_header_does_worse_than_be_none(header: str) -> None:
    part = parse_content_range(header)
    if part is not None:
        assert 0 <= part.first <= part.last < 10**18
        assert part.total is None or part.last < part.total < 10**18
