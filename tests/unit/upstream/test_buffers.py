"""The memory of bodies: all that a short one needs, and three pieces for a long one, which grow once one was full."""

from __future__ import annotations

import mmap

import pytest

from mirror.upstream import buffers
from mirror.upstream.buffers import Buffers

FIRST, LARGE, LASTING, WORTH = 4096, 16_384, 40_000, 50_000
LONG = 10 * LARGE


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "FIRST", FIRST)
    monkeypatch.setattr(buffers, "LARGE", LARGE)
    monkeypatch.setattr(buffers, "LASTING", LASTING)
    monkeypatch.setattr(buffers, "WORTH", WORTH)


def test_a_piece_has_room_and_a_place_for_one_byte_more() -> None:
    memory = Buffers(LONG)
    assert memory.room == FIRST
    assert len(memory.filling) == FIRST + 1


@pytest.mark.parametrize("size", [1, 100, LASTING])
def test_a_short_body_has_memory_for_all_of_it_in_which_it_stays(size: int) -> None:
    memory = Buffers(size)
    assert memory.room == size
    came = []
    for number in range(size):
        memory.filling[:1] = bytes([number % 256])
        came.append(memory.turn(1, size - number - 1))
    assert b"".join(came) == bytes(number % 256 for number in range(size))
    assert len(memory.filling) == 1


def test_what_comes_slowly_stays_with_little() -> None:
    memory = Buffers(LONG)
    for _ in range(10):
        memory.turn(FIRST - 1, LONG)
        assert len(memory.filling) == FIRST + 1
    assert memory.room == FIRST


def test_a_piece_that_was_full_makes_the_next_ones_large() -> None:
    memory = Buffers(LONG)
    assert len(memory.turn(FIRST, LONG)) == FIRST
    for _ in range(5):
        assert memory.room == LARGE
        assert len(memory.filling) == LARGE + 1
        assert len(memory.turn(LARGE, LONG)) == LARGE


@pytest.mark.parametrize(("left", "room"), [(WORTH - 1, FIRST), (WORTH, LARGE)])
def test_they_grow_only_while_enough_is_to_come(left: int, room: int) -> None:
    memory = Buffers(LONG)
    memory.turn(FIRST, left)
    assert memory.room == room
    assert len(memory.filling) == room + 1


def test_what_was_returned_stays_for_two_more_calls_also_when_they_grow() -> None:
    memory = Buffers(LONG)
    came: list[memoryview] = []
    for number, filled in enumerate([5, FIRST, LARGE, LARGE, 7, LARGE]):
        memory.filling[:] = bytes([number]) * len(memory.filling)
        came.append(memory.turn(filled, LONG))
        memory.filling[:] = b"\xff" * len(memory.filling)
        for place, earlier in enumerate(came[-2:], max(0, number - 1)):
            assert bytes(earlier) == bytes([place]) * len(earlier)


def test_a_kernel_without_huge_pages_gives_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mapping(mmap.mmap):
        def madvise(self, *_: object) -> None:
            raise OSError

    monkeypatch.setattr(mmap, "mmap", Mapping)
    monkeypatch.setattr(buffers, "_HUGE", 8192)
    memory = Buffers(LONG)
    memory.turn(FIRST, LONG)
    assert len(memory.filling) == LARGE + 1
