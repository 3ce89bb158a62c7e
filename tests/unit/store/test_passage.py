from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from mirror.errors import BodyCut, StoreFailed
from mirror.oci.digest import Digest
from mirror.store.passage import MOST_PASSAGES, SEGMENT, PassageFile, Passages
from mirror.store.threads import Threads
from tests.unit.store.cabinet import open_files

DATA = os.urandom(3 * SEGMENT + 1000)
DIGEST = Digest.of(DATA)


@pytest.fixture
async def passages() -> AsyncIterator[Passages]:
    """The passages of a process, none yet."""
    threads = Threads("test", 2)
    yield Passages(threads)
    threads.close()


def whole(passages: Passages) -> PassageFile:
    return passages.begin(DIGEST, DIGEST.hasher(), 0)


async def fed(passages: Passages, piece: int = 100_000) -> PassageFile:
    """A passage through which all of DATA went."""
    passage = whole(passages)
    for at in range(0, len(DATA), piece):
        await passage.append(DATA[at : at + piece])
    return passage


def read(passage: PassageFile, offset: int) -> bytes:
    """Return what the segment at `offset` has from there on."""
    segment, end = passage.at(offset)
    return os.pread(segment.fileno(), end - offset, offset)


@pytest.mark.parametrize("piece", [100_000, SEGMENT, SEGMENT - 1, 2 * SEGMENT + 7])
async def test_what_went_in_is_read_where_it_is_in_the_blob(passages: Passages, piece: int) -> None:
    passage = await fed(passages, piece)
    assert await passage.verified()
    offset, data = 0, b""
    while offset < len(DATA):
        data += read(passage, offset)
        offset = len(data)
    assert data == DATA
    await passage.close()


async def test_a_passage_behind_bytes_that_are_elsewhere_knows_their_hash(passages: Passages) -> None:
    start = SEGMENT + 500
    hasher = DIGEST.hasher()
    hasher.update(DATA[:start])
    passage = passages.begin(DIGEST, hasher, start)
    assert (passage.start, passage.size, passage.floor) == (start, start, start)
    await passage.append(DATA[start:])
    assert await passage.verified()
    assert read(passage, start) == DATA[start : 2 * SEGMENT]
    with pytest.raises(BodyCut):
        passage.at(start - 1)
    await passage.close()


async def test_other_bytes_are_not_verified(passages: Passages) -> None:
    passage = whole(passages)
    await passage.append(DATA[:-1])
    assert not await passage.verified()
    await passage.close()


@pytest.mark.parametrize(
    ("before", "floor"), [(0, 0), (SEGMENT - 1, 0), (SEGMENT, SEGMENT), (2 * SEGMENT + 5, 2 * SEGMENT)]
)
async def test_what_nobody_needs_is_let_go_segment_by_segment(passages: Passages, before: int, floor: int) -> None:
    passage = await fed(passages)
    full = open_files()
    passage.forget(before)
    assert passage.floor == floor
    assert full - open_files() == floor // SEGMENT
    assert read(passage, floor) == DATA[floor : floor + SEGMENT]
    if floor:
        with pytest.raises(BodyCut):
            passage.at(floor - 1)
    await passage.close()


async def test_a_segment_that_still_fills_is_not_let_go(passages: Passages) -> None:
    passage = whole(passages)
    await passage.append(DATA[:10])
    passage.forget(10 * SEGMENT)
    await passage.append(DATA[10:20])
    assert read(passage, 0)[:20] == DATA[:20]
    await passage.close()


async def test_there_are_only_so_many_and_closing_one_makes_room(passages: Passages) -> None:
    before = open_files()
    opened = [whole(passages) for _ in range(MOST_PASSAGES)]
    for passage in opened:
        await passage.append(b"x")
    with pytest.raises(StoreFailed):
        whole(passages)
    await opened[0].close()
    await opened[0].close()
    again = whole(passages)
    with pytest.raises(StoreFailed):
        whole(passages)
    for passage in (*opened, again):
        await passage.close()
    assert open_files() == before


async def test_memory_that_is_at_an_end_is_told(passages: Passages, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> int:
        raise OSError(24, "Too many open files")

    passage = whole(passages)
    monkeypatch.setattr(os, "memfd_create", exhausted)
    with pytest.raises(StoreFailed):
        await passage.append(b"x")
    assert passage.size == 0
    await passage.close()
