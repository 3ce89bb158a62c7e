"""Reading along: one cabinet writes, another on the same folder follows, as two processes do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.oci.digest import Digest
from mirror.proxy.interfaces.fills import FillState, Sighting
from mirror.store.followed import Followed
from mirror.store.pages import SIZE, Page
from tests.unit.store.cabinet import Cabinet, open_files

DATA = b"some content" * 1000
DIGEST = Digest.of(DATA)
LOOKS = 20
"""More looks than it takes to find out that there is no writer any more."""


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Cabinet]:
    """Another process on the same folder."""
    async with Cabinet(tmp_path) as opened:
        yield opened


async def settled(followed: Followed) -> Sighting:
    """Return what is seen once there is no writer any more."""
    for _ in range(LOOKS):
        seen = await followed.look()
        if not seen.is_written:
            return seen
    raise AssertionError("it is still being written")


async def test_how_far_it_has_come_is_seen(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.claim(DIGEST)
    followed = await other.follow(DIGEST)
    assert await followed.look() == Sighting(0, None, FillState.WRITING, is_agreed=False, is_written=True)
    assert await partial.expect(len(DATA))
    assert await followed.look() == Sighting(0, len(DATA), FillState.WRITING, is_agreed=True, is_written=True)
    await partial.append(DATA[:100])
    assert await followed.look() == Sighting(100, len(DATA), FillState.WRITING, is_agreed=True, is_written=True)
    reader = followed.reader()
    assert os.pread(reader.fileno(), 1000, 0) == DATA[:100]
    await partial.append(DATA[100:])
    await partial.commit()
    whole = Sighting(len(DATA), len(DATA), FillState.COMMITTED, is_agreed=True, is_written=False)
    assert await followed.look() == whole
    await partial.close()
    assert await followed.look() == whole
    assert os.pread(reader.fileno(), len(DATA) + 1, 0) == DATA
    reader.close()
    await followed.close()


async def test_the_writer_sees_that_somebody_waits_for_upstream_to_agree(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.claim(DIGEST)
    assert not await partial.is_wanted()
    followed = await other.follow(DIGEST)
    assert not await partial.is_wanted()
    await followed.look()
    assert await partial.is_wanted()
    assert await partial.expect(len(DATA))
    assert (await followed.look()).is_agreed
    await partial.append(DATA[:100])
    await partial.keep()
    await partial.close()
    # The next writer has to be waited for anew.
    again = await cabinet.claim(DIGEST)
    assert not await again.is_wanted()
    await again.close()
    await followed.close()


async def test_a_blob_of_unknown_length_is_followed(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.claim(DIGEST)
    followed = await other.follow(DIGEST)
    assert await partial.expect(None)
    await partial.append(DATA)
    assert await followed.look() == Sighting(len(DATA), None, FillState.WRITING, is_agreed=True, is_written=True)
    await partial.close()
    await followed.close()


async def test_a_writer_that_brings_nothing_is_not_taken_for_dead(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    followed = await other.follow(DIGEST)
    assert all([(await followed.look()).is_written for _ in range(LOOKS)])
    await partial.close()
    await followed.close()


@pytest.mark.parametrize("agreed", [False, True])
async def test_a_writer_that_dies_leaves_what_it_had(cabinet: Cabinet, other: Cabinet, agreed: bool) -> None:
    partial = await cabinet.claim(DIGEST)
    if agreed:
        assert await partial.expect(len(DATA))
        await partial.append(DATA[:100])
    followed = await other.follow(DIGEST)
    await partial.close()
    seen = await settled(followed)
    assert (seen.prefix, seen.state, seen.is_agreed) == (100 if agreed else 0, FillState.WRITING, agreed)
    successor = await other.claim(DIGEST)
    assert successor.continues(followed)
    assert successor.size == seen.prefix
    await successor.close()
    await followed.close()


async def test_a_writer_that_gives_up_says_so(cabinet: Cabinet, other: Cabinet) -> None:
    for ending in ("keep", "discard"):
        partial = await cabinet.begin(DATA)
        followed = await other.follow(DIGEST)
        await followed.look()
        await getattr(partial, ending)()
        assert (await followed.look()).state is FillState.FAILED
        await partial.close()
        await followed.close()


async def test_a_writer_that_dies_between_naming_the_file_and_saying_so_has_committed_it(
    cabinet: Cabinet, other: Cabinet
) -> None:
    partial = await cabinet.begin(DATA)
    followed = await other.follow(DIGEST)
    assert (await followed.look()).state is FillState.WRITING
    os.rename(cabinet.partial_file(DIGEST), cabinet.file(DIGEST))
    assert (await followed.look()).state is FillState.WRITING
    await partial.close()
    assert await settled(followed) == Sighting(
        len(DATA), len(DATA), FillState.COMMITTED, is_agreed=True, is_written=False
    )
    await followed.close()


async def test_a_writer_that_dies_with_all_bytes_verified_is_succeeded(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    followed = await other.follow(DIGEST)
    partial._publish(FillState.VERIFIED)
    seen = await followed.look()
    assert (seen.state, seen.prefix, seen.is_written) == (FillState.VERIFIED, len(DATA), True)
    await partial.close()
    await settled(followed)
    successor = await other.claim(DIGEST)
    assert await successor.verified()
    await successor.commit()
    await successor.close()
    assert (await followed.look()).state is FillState.COMMITTED
    await followed.close()


async def test_another_file_of_the_same_name_is_not_the_one_that_is_followed(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    followed = await other.follow(DIGEST)
    await followed.look()
    await partial.discard()
    await partial.close()
    following = await cabinet.claim(DIGEST)
    await following.append(DATA[:50])
    seen = await settled(followed)
    assert (seen.prefix, seen.state) in ((len(DATA), FillState.FAILED), (0, FillState.WRITING))
    assert not following.continues(followed)
    await following.close()
    await followed.close()


ANOTHER = Page(1, 10**12, 10**12, state=FillState.COMMITTED, is_agreed=True)


@pytest.mark.parametrize("page", [None, b"", b"x" * SIZE, ANOTHER.pack()])
async def test_a_page_that_is_not_of_this_file_promises_nothing(
    cabinet: Cabinet, other: Cabinet, page: bytes | None
) -> None:
    partial = await cabinet.begin(DATA)
    if page is None:
        cabinet.page_file(DIGEST).unlink()
    else:
        cabinet.page_file(DIGEST).write_bytes(page)
    followed = await other.follow(DIGEST)
    before = open_files()
    assert await followed.look() == Sighting(0, None, FillState.WRITING, is_agreed=False, is_written=True)
    assert open_files() == before
    await partial.append(b"")
    assert (await followed.look()).prefix == (0 if page is None else len(DATA))
    await partial.close()
    await followed.close()


async def test_a_page_that_vanishes_does_not_end_the_fill(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    followed = await other.follow(DIGEST)
    await followed.look()
    cabinet.page_file(DIGEST).unlink()
    await partial.commit()
    await partial.close()
    assert (await settled(followed)).state is FillState.COMMITTED
    await followed.close()


async def test_nothing_stays_open(cabinet: Cabinet, other: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    before = open_files()
    followed = await other.follow(DIGEST)
    reader = followed.reader()
    for _ in range(LOOKS):
        await followed.look()
    await followed.close()
    await followed.close()
    reader.close()
    assert open_files() == before
    await partial.close()
