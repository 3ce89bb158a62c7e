"""What is asked for to go on with a blob, and which answers are what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.resume import range_headers, resumed_size, strong_tag
from tests.unit.upstream.answers import answer

TAG = '"sha256:abc"'
RANGE = "bytes 40-99/100"


def size(*headers: tuple[str, str], start: int = 40, tag: str | None = TAG) -> int | None:
    """The length of the blob that a 206 with these headers goes on with."""
    return resumed_size(answer(206, headers=headers), start, tag)


# The question. -------------------------------------------------------------------------------------------


def test_the_rest_of_the_same_object_is_asked_for() -> None:
    assert range_headers(40, TAG) == {"Range": "bytes=40-", "If-Range": TAG}


@pytest.mark.parametrize(
    "tag", [None, "", f"W/{TAG}", "abc", '""', '"a"b"', '"a', '"a\r\nX: y"', '"\u00e4"', f'"{"x" * 257}"', "*"]
)
def test_without_a_strong_tag_there_is_no_condition(tag: str | None) -> None:
    assert range_headers(40, tag) == {"Range": "bytes=40-"}


@pytest.mark.parametrize(
    ("headers", "tag"),
    [
        ([("ETag", TAG)], TAG),
        ([("etag", f'"{"x" * 256}"')], f'"{"x" * 256}"'),
        ([], None),
        ([("ETag", f"W/{TAG}")], None),
        ([("ETag", "abc")], None),
        ([("ETag", "")], None),
        ([("ETag", f'"{"x" * 257}"')], None),
        ([("ETag", '"\u00e4"')], None),
        ([("ETag", TAG), ("ETag", TAG)], None),
        ([("ETag", f"{TAG}, {TAG}")], None),
    ],
)
def test_what_is_kept_as_a_tag(headers: list[tuple[str, str]], tag: str | None) -> None:
    assert strong_tag(answer(headers=headers)) == tag


def test_a_part_of_it_is_asked_for_up_to_its_last_byte() -> None:
    assert range_headers(0, None, 40) == {"Range": "bytes=0-39"}
    assert range_headers(40, TAG, 41) == {"Range": "bytes=40-40", "If-Range": TAG}


# The answer. ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Range", RANGE), ("Content-Length", "60")],
        [("Content-Range", RANGE)],
        [("Content-Range", "bytes 40-99/*"), ("Content-Length", "60")],
        [("Content-Range", RANGE), ("ETag", TAG)],
        [("Content-Range", RANGE), ("ETag", 'W/"other"')],
        [("Content-Range", RANGE), ("Content-Type", "application/octet-stream")],
        [("Content-Range", RANGE), ("Content-Type", "nonsense")],
    ],
)
def test_the_rest(headers: list[tuple[str, str]]) -> None:
    assert size(*headers) == 100


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="no part is declared"),
        pytest.param([("Content-Length", "60")], id="a length is no part"),
        pytest.param([("Content-Range", "bytes 40-99")], id="malformed"),
        pytest.param([("Content-Range", "bytes */100")], id="the form of a 416"),
        pytest.param([("Content-Range", RANGE), ("Content-Range", RANGE)], id="repeated"),
        pytest.param([("Content-Range", RANGE), ("Content-Range", "bytes 0-1/2")], id="contradictory"),
        pytest.param([("Content-Range", "bytes 39-99/100")], id="begins earlier"),
        pytest.param([("Content-Range", "bytes 41-99/100")], id="begins later"),
        pytest.param([("Content-Range", "bytes 0-99/100")], id="begins at the beginning"),
        pytest.param([("Content-Range", "bytes 40-98/100")], id="ends early"),
        pytest.param([("Content-Range", RANGE), ("Content-Length", "59")], id="shorter than the part"),
        pytest.param([("Content-Range", RANGE), ("Content-Length", "61")], id="longer than the part"),
        pytest.param([("Content-Range", RANGE), ("Content-Length", "100")], id="as long as the whole"),
        pytest.param([("Content-Range", RANGE), ("Content-Length", "0")], id="empty"),
        pytest.param([("Content-Range", "bytes 40-99/*")], id="of unknown length"),
        pytest.param([("Content-Range", "bytes 40-99/*"), ("Content-Length", "59")], id="of contradictory length"),
        pytest.param([("Content-Range", RANGE), ("ETag", '"other"')], id="another object"),
        pytest.param([("Content-Range", RANGE), ("Content-Type", "multipart/byteranges; boundary=x")], id="multipart"),
        pytest.param([("Content-Range", RANGE), ("Content-Type", "Multipart/ByteRanges")], id="multipart in capitals"),
    ],
)
def test_what_is_not_the_rest(headers: list[tuple[str, str]]) -> None:
    assert size(*headers) is None


@pytest.mark.parametrize("before", [None, 'W/"sha256:abc"'])
def test_without_a_strong_tag_before_any_object_may_be_the_same(before: str | None) -> None:
    assert size(("Content-Range", RANGE), ("ETag", '"other"'), tag=before) == 100


@given(
    st.integers(1, 4),
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 7) | st.just("*")),
    st.integers(0, 7) | st.none(),
)
def test_only_the_whole_rest_will_do(start: int, part: tuple[int, int, int | str], length: int | None) -> None:
    first, last, total = part
    headers = [("Content-Range", f"bytes {first}-{last}/{total}")]
    headers += [] if length is None else [("Content-Length", str(length))]
    found = size(*headers, start=start)
    if found is not None:
        assert (first, last) == (start, found - 1)
        assert total in (found, "*")
        assert length in (found - start, None)
        assert start < found
    elif first == start <= last:
        assert total not in (last + 1, "*") or length != last + 1 - first


@pytest.mark.parametrize(
    ("declared", "stop", "found"),
    [
        ("bytes 40-59/100", 60, 100),
        ("bytes 40-99/100", 100, 100),
        ("bytes 40-99/100", 200, 100),
        ("bytes 40-99/100", 60, None),
        ("bytes 40-58/100", 60, None),
        ("bytes 40-60/100", 60, None),
        ("bytes 41-59/100", 60, None),
        ("bytes 40-59/*", 60, None),
    ],
)
def test_a_part_is_what_was_asked_for_or_nothing(declared: str, stop: int, found: int | None) -> None:
    response = answer(206, headers=[("Content-Range", declared)])
    assert resumed_size(response, 40, TAG, stop) == found
