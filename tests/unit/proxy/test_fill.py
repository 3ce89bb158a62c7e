from __future__ import annotations

import asyncio
import os

import pytest

from mirror.errors import BlobUnknown, BodyCut, ShuttingDown, UpstreamFailed
from mirror.oci.digest import Digest
from mirror.proxy.fills.fill import SMALL, SMALL_PATIENCE, Fill, FillReader
from mirror.proxy.fills.progress import HOLD_BACK
from mirror.proxy.interfaces.fills import FillState
from tests.unit.proxy.doubles import HUB, read_to_end
from tests.unit.proxy.memory_store import MemoryStore
from tests.unit.virtual_time import in_virtual_time, settle

DATA = os.urandom(3 * HOLD_BACK)
DIGEST = Digest.of(DATA)
LARGE = SMALL + 1


class HandWritten:
    """A fill whose writer is the test."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.fill = Fill(HUB, DIGEST)
        partial = self.store.claim_now(DIGEST)
        assert partial is not None
        self.partial = partial

    async def write(self, data: bytes) -> None:
        assert self.fill.progress is not None
        await self.partial.append(data)
        self.fill.progress.advance(len(data))

    def enter(self, state: FillState) -> None:
        assert self.fill.progress is not None
        self.fill.progress.enter(state)


@in_virtual_time
async def test_readers_wait_for_upstreams_word() -> None:
    hand = HandWritten()
    size, body = asyncio.create_task(hand.fill.size()), asyncio.create_task(hand.fill.open())
    await settle()
    assert not size.done()
    assert not body.done()
    hand.fill.begin(hand.partial, LARGE)
    assert await size == LARGE
    opened = await body
    assert isinstance(opened, FillReader)
    assert opened.size == LARGE
    opened.close()
    await hand.fill.audience.unread()


@in_virtual_time
async def test_a_refusal_reaches_everybody() -> None:
    hand = HandWritten()
    waiting = [asyncio.create_task(hand.fill.open()) for _ in range(3)]
    await settle()
    error = BlobUnknown("no")
    hand.fill.fail(error)
    assert await asyncio.gather(*waiting, return_exceptions=True) == [error] * 3
    with pytest.raises(BlobUnknown):
        await hand.fill.size()
    await hand.fill.audience.unread()


@in_virtual_time
async def test_what_is_stored_already_is_not_read_here() -> None:
    hand = HandWritten()
    waiting = asyncio.create_task(hand.fill.open())
    await settle()
    hand.fill.found()
    assert await waiting is None
    assert await hand.fill.size() is None
    await hand.fill.audience.unread()


@in_virtual_time
async def test_a_small_blob_is_verified_before_its_first_header() -> None:
    hand = HandWritten()
    waiting = asyncio.create_task(hand.fill.open())
    hand.fill.begin(hand.partial, len(DATA))
    await hand.write(DATA)
    await settle()
    assert not waiting.done()
    hand.enter(FillState.VERIFIED)
    body = await waiting
    assert body is not None
    assert await read_to_end(body) == DATA
    body.close()


@in_virtual_time
async def test_a_small_blob_that_fails_is_an_error_and_not_a_cut_body() -> None:
    hand = HandWritten()
    waiting = asyncio.create_task(hand.fill.open())
    hand.fill.begin(hand.partial, len(DATA))
    await hand.write(DATA[:1000])
    await settle()
    hand.fill.fail(UpstreamFailed("broke off"))
    with pytest.raises(UpstreamFailed):
        await waiting
    await hand.fill.audience.unread()


@in_virtual_time
async def test_nobody_waits_long_for_a_small_blob() -> None:
    hand = HandWritten()
    hand.fill.begin(hand.partial, SMALL)
    body = await hand.fill.open()
    assert asyncio.get_running_loop().time() == pytest.approx(SMALL_PATIENCE)
    assert body is not None
    body.close()


@in_virtual_time
async def test_a_blob_that_is_said_to_be_empty_is_not_believed_before_its_digest_is_verified() -> None:
    # Its headers alone make a complete body.
    hand = HandWritten()
    hand.fill.begin(hand.partial, 0)
    waiting = asyncio.create_task(hand.fill.open())
    await asyncio.sleep(2 * SMALL_PATIENCE)
    assert not waiting.done()
    hand.fill.fail(UpstreamFailed("wrong bytes"))
    with pytest.raises(UpstreamFailed):
        await waiting


@pytest.mark.parametrize("total", [LARGE, None])
@in_virtual_time
async def test_other_blobs_are_streamed_at_once(total: int | None) -> None:
    hand = HandWritten()
    hand.fill.begin(hand.partial, total)
    body = await hand.fill.open()
    assert asyncio.get_running_loop().time() == 0
    assert body is not None
    assert body.size == total
    body.close()


@in_virtual_time
async def test_the_length_is_known_once_everything_is_verified() -> None:
    hand = HandWritten()
    hand.fill.begin(hand.partial, None)
    body = await hand.fill.open()
    assert body is not None
    await hand.write(DATA)
    hand.enter(FillState.VERIFIED)
    assert body.size == len(DATA)
    assert await read_to_end(body) == DATA
    body.close()


@in_virtual_time
async def test_a_cut_names_its_cause() -> None:
    hand = HandWritten()
    hand.fill.begin(hand.partial, LARGE)
    body = await hand.fill.open()
    assert body is not None
    error = UpstreamFailed("broke off")
    hand.fill.fail(error)
    with pytest.raises(BodyCut, match="broke off") as raised:
        await body.sendable(0)
    assert raised.value.__cause__ is error
    body.close()


@in_virtual_time
async def test_a_failure_after_the_digest_matched_harms_no_reader() -> None:
    hand = HandWritten()
    hand.fill.begin(hand.partial, len(DATA))
    await hand.write(DATA)
    hand.enter(FillState.VERIFIED)
    hand.fill.fail(ShuttingDown("stopping"))
    body = await hand.fill.open()
    assert body is not None
    assert await read_to_end(body) == DATA
    body.close()


@in_virtual_time
async def test_the_fill_is_unread_when_its_last_reader_has_left() -> None:
    hand = HandWritten()
    hand.fill.begin(hand.partial, LARGE)
    bodies = [await hand.fill.open() for _ in range(3)]
    unread = asyncio.create_task(hand.fill.audience.unread())
    for body in bodies:
        await settle()
        assert not unread.done()
        assert body is not None
        body.close()
        body.close()
    await unread


@in_virtual_time
async def test_a_reader_that_gives_up_waiting_has_left() -> None:
    hand = HandWritten()
    waiting = asyncio.create_task(hand.fill.open())
    await settle()
    waiting.cancel()
    await settle()
    await hand.fill.audience.unread()


@in_virtual_time
async def test_a_reader_keeps_its_file_when_the_writer_closes() -> None:
    hand = HandWritten()
    hand.fill.begin(hand.partial, len(DATA))
    await hand.write(DATA)
    hand.enter(FillState.VERIFIED)
    body = await hand.fill.open()
    await hand.partial.close()
    assert body is not None
    assert await read_to_end(body) == DATA
    body.close()
    assert hand.store.open_files == 0
