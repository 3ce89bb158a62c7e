from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.interfaces.fills import FillState
from mirror.store.pages import MARK, SIZE, Page, unpack

PAGES = st.builds(
    Page,
    inode=st.integers(0, 2**64 - 1),
    prefix=st.integers(0, 2**63 - 1),
    total=st.none() | st.integers(0, 2**63 - 1),
    reserved=st.integers(0, 2**63 - 1),
    state=st.sampled_from(FillState),
    is_agreed=st.booleans(),
)


@given(PAGES)
def test_a_page_comes_back(page: Page) -> None:
    assert len(page.pack()) == SIZE
    assert unpack(page.pack()) == page


@given(PAGES)
def test_what_is_behind_a_page_is_no_part_of_it(page: Page) -> None:
    assert unpack(page.pack() + MARK) == page


@given(PAGES, st.integers(0, SIZE - 1))
def test_a_part_of_a_page_is_none(page: Page, size: int) -> None:
    assert unpack(page.pack()[:size]) is None
    assert unpack(page.pack()[size:] + bytes(size)) in (None, page)


@given(PAGES, st.integers(0, 8 * SIZE - 1))
def test_a_page_with_a_flipped_bit_is_none(page: Page, at: int) -> None:
    data = bytearray(page.pack())
    data[at // 8] ^= 1 << at % 8
    assert unpack(bytes(data)) is None


@given(PAGES, PAGES, st.integers(1, SIZE - 1))
def test_a_page_read_half_old_and_half_new_is_one_of_them_or_none(old: Page, new: Page, at: int) -> None:
    assert unpack(new.pack()[:at] + old.pack()[at:]) in (None, old, new)


@pytest.mark.parametrize("data", [b"", bytes(SIZE), b"\xff" * SIZE, b"x" * (SIZE + 1)])
def test_garbage_is_none(data: bytes) -> None:
    assert unpack(data) is None
