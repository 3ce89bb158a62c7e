from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.interfaces.fills import FillState
from mirror.store import files, hashing, pages
from mirror.store.pages import Page
from mirror.store.threads import Threads
from tests.unit.store.cabinet import Cabinet, open_files

DATA = b"some content" * 1000
DIGEST = Digest.of(DATA)
PIECE = 500
"""Bytes that are read at once, in a test that needs many pieces."""


def hashing_lane(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> Threads:
    """Return the lane in which the next partial file is hashed."""
    lane = cabinet.threads.hashing.next()
    monkeypatch.setattr(cabinet.threads.hashing, "next", lambda: lane)
    return lane


def has_grown(file: Path, size: int) -> None:
    """Wait until the file has so many bytes."""
    while file.stat().st_size < size:
        time.sleep(0.001)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_verified_file_is_committed(cabinet: Cabinet, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    partial = await cabinet.claim(digest)
    for piece in (DATA[:5000], b"", DATA[5000:]):
        assert not await partial.verified()
        await partial.append(piece)
    assert await partial.verified()
    assert not cabinet.file(digest).exists()
    await partial.commit()
    await partial.close()
    assert cabinet.file(digest).read_bytes() == DATA
    assert cabinet.file(digest).stat().st_mode & 0o777 == 0o444
    assert (cabinet.partial_files, cabinet.pages) == ([], [])
    entry = cabinet.index.get(digest)
    assert entry is not None
    assert (entry.size, entry.is_manifest) == (len(DATA), False)


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"x", b"other"])
async def test_nothing_else_is_committed(cabinet: Cabinet, data: bytes) -> None:
    partial = await cabinet.claim(DIGEST)
    await partial.append(data)
    assert not await partial.verified()
    with pytest.raises(StoreFailed):
        await partial.commit()
    await partial.discard()
    await partial.close()
    assert not cabinet.file(DIGEST).exists()
    assert DIGEST not in cabinet.index
    assert (cabinet.partial_files, cabinet.pages) == ([], [])


async def test_readers_follow_the_growing_file_and_keep_it(cabinet: Cabinet) -> None:
    partial = await cabinet.claim(DIGEST)
    early = partial.reader()
    await partial.append(DATA[:100])
    assert os.pread(early.fileno(), 1000, 0) == DATA[:100]
    await partial.append(DATA[100:])
    await partial.discard()
    await partial.close()
    assert os.pread(early.fileno(), len(DATA) + 1, 0) == DATA
    early.close()
    early.close()
    assert early.fileno() == -1


async def test_bytes_are_told_of_once_they_are_written(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    partial, order, write_at = await cabinet.claim(DIGEST), list[str](), files.write_at

    def written(fd: int, data: bytes, offset: int) -> None:
        write_at(fd, data, offset)
        order.append("written" if data == DATA else "told")

    monkeypatch.setattr(files, "write_at", written)
    await partial.append(DATA)
    assert order == ["written", "told"]
    await partial.close()


async def test_hashing_lags_one_piece_behind_and_no_more(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    lane, may_go_on = hashing_lane(cabinet, monkeypatch), threading.Event()
    lane.begin(may_go_on.wait)
    partial = await cabinet.claim(DIGEST)
    await partial.append(DATA[:100])
    second = asyncio.create_task(partial.append(DATA[100:200]))
    await asyncio.to_thread(has_grown, cabinet.partial_file(DIGEST), 200)
    assert not second.done()
    may_go_on.set()
    await second
    await partial.append(DATA[200:])
    assert await partial.verified()
    await partial.close()


async def test_a_digest_is_told_once_everything_is_hashed(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    lane, may_go_on = hashing_lane(cabinet, monkeypatch), threading.Event()
    lane.begin(may_go_on.wait)
    partial = await cabinet.begin(DATA)
    telling = asyncio.create_task(partial.verified())
    await asyncio.sleep(0)
    assert not telling.done()
    may_go_on.set()
    assert await telling
    await partial.close()


async def test_what_the_disk_does_not_take_is_hashed_by_who_takes_it(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = await cabinet.claim(DIGEST)
    await partial.append(DATA[:100])

    def refused(fd: int, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_at", refused)
    with pytest.raises(StoreFailed):
        await partial.append(DATA[100:])
    monkeypatch.undo()
    assert partial.size == 100
    passage = partial.spill()
    await passage.append(DATA[100:])
    assert await passage.verified()
    await passage.close()
    await partial.close()


async def test_an_append_that_is_cancelled_waits_for_its_threads(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, may_go_on = hashing_lane(cabinet, monkeypatch), threading.Event()
    lane.begin(may_go_on.wait)
    partial = await cabinet.claim(DIGEST)
    await partial.append(DATA[:100])
    appending = asyncio.create_task(partial.append(DATA[100:]))
    await asyncio.to_thread(has_grown, cabinet.partial_file(DIGEST), len(DATA))
    appending.cancel()
    await asyncio.sleep(0)
    assert not appending.done()
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await appending
    assert (partial.size, await partial.verified()) == (len(DATA), True)
    await partial.close()


async def test_reading_ahead_changes_nothing(cabinet: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    reader = partial.reader()
    for start, stop in ((0, len(DATA)), (5, 5), (7, 6), (0, 2 * len(DATA))):
        await reader.load(start, stop)
    reader.close()
    await partial.commit()
    await partial.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA


async def test_no_reader_of_a_closed_file(cabinet: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    numbers = {int(name) for name in os.listdir("/proc/self/fd")}
    await partial.close()
    await partial.close()
    with pytest.raises(StoreFailed):
        partial.reader()
    # The number of its descriptor goes to the next file that is opened, which is not to be read instead.
    others = [os.memfd_create("another's content") for _ in range(3)]
    assert numbers & set(others)
    with pytest.raises(StoreFailed):
        partial.reader()
    for fd in others:
        os.close(fd)


@pytest.mark.parametrize("ending", ["commit", "keep", "discard", "close"])
async def test_nothing_stays_open(cabinet: Cabinet, ending: str) -> None:
    before = open_files()
    partial = await cabinet.begin(DATA)
    reader = partial.reader()
    await getattr(partial, ending)()
    await partial.close()
    reader.close()
    assert open_files() == before
    assert not cabinet.committed.is_leased(DIGEST)


async def test_what_the_file_holds_can_be_compared(cabinet: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    assert await partial.holds(0, DATA)
    assert await partial.holds(100, DATA[100:200])
    assert not await partial.holds(100, DATA[101:200])
    assert not await partial.holds(100, DATA[100:] + b"x")
    await partial.close()


# Going on where another stopped. ---------------------------------------------------------------------------


async def test_a_fill_goes_on_behind_what_an_earlier_one_left(cabinet: Cabinet) -> None:
    await cabinet.leave(DATA[:5000], whole=DATA)
    partial = await cabinet.claim(DIGEST)
    assert partial.size == 5000
    assert not await partial.verified()
    await partial.append(DATA[5000:])
    await partial.commit()
    await partial.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA


async def test_what_was_left_complete_is_verified(cabinet: Cabinet) -> None:
    await cabinet.leave(DATA)
    partial = await cabinet.claim(DIGEST)
    assert await partial.verified()
    await partial.commit()
    await partial.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA


async def test_what_was_left_damaged_is_hashed_as_it_is(cabinet: Cabinet) -> None:
    left = await cabinet.leave(DATA[:5000], whole=DATA)
    with left.open("r+b") as damaged:
        damaged.write(b"X")
    partial = await cabinet.claim(DIGEST)
    await partial.append(DATA[5000:])
    assert not await partial.verified()
    await partial.discard()
    await partial.close()


@pytest.mark.parametrize(("claimed", "expected"), [(0, 0), (100, 100), (5000, 5000), (5001, 5000), (10**15, 5000)])
async def test_bytes_behind_what_the_page_says_do_not_count(cabinet: Cabinet, claimed: int, expected: int) -> None:
    left = await cabinet.leave(DATA[:5000], whole=DATA)
    cabinet.page_file(DIGEST).write_bytes(Page(left.stat().st_ino, claimed).pack())
    partial = await cabinet.claim(DIGEST)
    assert partial.size == left.stat().st_size == expected
    await partial.append(DATA[expected:])
    assert await partial.verified()
    await partial.close()


@pytest.mark.parametrize("page", [None, b"", b"garbage", bytes(pages.SIZE), Page(1, 100).pack()])
async def test_a_page_that_is_not_of_this_file_says_nothing(cabinet: Cabinet, page: bytes | None) -> None:
    await cabinet.leave(DATA[:5000], whole=DATA)
    if page is None:
        cabinet.page_file(DIGEST).unlink()
    else:
        cabinet.page_file(DIGEST).write_bytes(page)
    partial = await cabinet.claim(DIGEST)
    assert partial.size == 5000
    await partial.close()


async def test_a_file_that_cannot_be_read_is_not_gone_on_with(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cabinet.leave(DATA[:5000], whole=DATA)
    before = open_files()

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "pieces", broken)
    with pytest.raises(StoreFailed):
        await cabinet.blobs.claim(DIGEST)
    assert open_files() == before
    assert not cabinet.committed.is_leased(DIGEST)
    assert (cabinet.partial_files, cabinet.pages) == ([], [])
    # What the disk has lost stands in nobody's way: the next one begins anew.
    partial = await cabinet.claim(DIGEST)
    assert partial.size == 0
    await partial.close()


async def test_a_file_that_cannot_be_read_for_now_stays(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    await cabinet.leave(DATA[:5000], whole=DATA)

    def broken(*_: object) -> bytes:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(files, "pieces", broken)
    with pytest.raises(StoreFailed):
        await cabinet.blobs.claim(DIGEST)
    monkeypatch.undo()
    partial = await cabinet.claim(DIGEST)
    assert partial.size == 5000
    await partial.close()


async def test_a_kept_file_waits_for_the_next_and_says_that_it_failed(cabinet: Cabinet) -> None:
    partial = await cabinet.claim(DIGEST)
    await partial.append(DATA[:5000])
    await partial.keep()
    page = pages.unpack(cabinet.page_file(DIGEST).read_bytes())
    assert page is not None
    assert (page.state, page.prefix) == (FillState.FAILED, 5000)
    # The lock is given back at once, though readers may keep this one from being closed for a while.
    following = await cabinet.claim(DIGEST)
    assert following.size == 5000
    await partial.close()
    await following.append(DATA[5000:])
    await following.commit()
    await following.close()


async def test_a_discarded_file_is_gone_before_it_is_closed(cabinet: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    await partial.discard()
    following = await cabinet.claim(DIGEST)
    assert following.size == 0
    await partial.close()
    assert cabinet.partial_file(DIGEST).exists()
    await following.close()


async def test_whoever_discards_takes_nothing_from_whoever_has_the_name_now(cabinet: Cabinet) -> None:
    first = await cabinet.begin(DATA)
    cabinet.partial_file(DIGEST).unlink()
    second = await cabinet.begin(DATA)
    await first.discard()
    await first.close()
    await second.commit()
    await second.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA


async def test_a_commit_gives_the_lock_back_with_readers_left(cabinet: Cabinet, tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as other:
        partial = await cabinet.begin(DATA)
        reader = partial.reader()
        await partial.commit()
        cabinet.file(DIGEST).unlink()
        await (await other.claim(DIGEST)).close()
        reader.close()
        await partial.close()


async def test_a_reader_does_not_keep_the_lock_of_a_writer_that_closed(cabinet: Cabinet, tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as other:
        partial = await cabinet.begin(DATA)
        reader = partial.reader()
        await partial.close()
        await (await other.claim(DIGEST)).close()
        reader.close()


# What goes wrong. ------------------------------------------------------------------------------------------


async def test_a_page_that_cannot_be_written_does_no_harm(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = await cabinet.claim(DIGEST)
    os.close(partial._page_fd)
    partial._page_fd = os.open(cabinet.page_file(DIGEST), os.O_RDONLY)
    assert await partial.expect(len(DATA))
    await partial.append(DATA)
    await partial.commit()
    await partial.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA


@pytest.mark.parametrize("change", [b"x", None])
async def test_a_file_that_somebody_else_wrote_to_is_not_committed(cabinet: Cabinet, change: bytes | None) -> None:
    partial = await cabinet.begin(DATA)
    if change is None:
        os.truncate(cabinet.partial_file(DIGEST), 100)
    else:
        with cabinet.partial_file(DIGEST).open("ab") as somebody:
            somebody.write(change)
    assert await partial.verified()
    with pytest.raises(StoreFailed):
        await partial.commit()
    assert not cabinet.file(DIGEST).exists()
    await partial.discard()
    await partial.close()
    assert (cabinet.partial_files, cabinet.pages) == ([], [])


async def test_a_file_that_lost_its_name_is_not_committed(cabinet: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    cabinet.partial_file(DIGEST).unlink()
    cabinet.partial_file(DIGEST).write_bytes(b"another's")
    with pytest.raises(StoreFailed):
        await partial.commit()
    assert not cabinet.file(DIGEST).exists()
    await partial.discard()
    await partial.close()
    assert cabinet.partial_file(DIGEST).read_bytes() == b"another's"


async def test_a_file_that_was_not_made_durable_is_thrown_away_and_not_tried_again(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def failing(fd: int) -> None:
        tried.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    partial = await cabinet.begin(DATA)
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreFailed):
        await partial.commit()
    await partial.discard()
    await partial.close()
    assert len(tried) == 1
    assert not cabinet.file(DIGEST).exists()
    assert (cabinet.partial_files, cabinet.pages, len(cabinet.index)) == ([], [], 0)


async def test_a_file_whose_name_was_not_made_durable_is_thrown_away_as_well(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_durable = os.fsync

    def failing(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        make_durable(fd)

    partial = await cabinet.begin(DATA)
    reader = partial.reader()
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreFailed):
        await partial.commit()
    await partial.discard()
    await partial.close()
    assert not cabinet.file(DIGEST).exists()
    assert (cabinet.partial_files, cabinet.pages, len(cabinet.index)) == ([], [], 0)
    assert os.pread(reader.fileno(), len(DATA), 0) == DATA
    reader.close()


async def test_what_was_committed_is_not_thrown_away(cabinet: Cabinet) -> None:
    partial = await cabinet.begin(DATA)
    await partial.commit()
    await partial.discard()
    await partial.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA


async def test_a_full_disk_is_told_and_what_is_there_stays_readable(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    partial = await cabinet.claim(DIGEST)
    await partial.append(DATA[:100])
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFailed):
        await partial.append(DATA[100:])
    monkeypatch.undo()
    assert partial.size == 100
    assert await partial.holds(0, DATA[:100])
    passage = partial.spill()
    await passage.append(DATA[100:])
    assert await passage.verified()
    await passage.close()
    await partial.discard()
    await partial.close()


async def test_a_write_that_was_cut_short_leaves_nothing_that_counts(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    left = [50]

    def nearly_full(fd: int, data: bytes, offset: int) -> int:
        taken = min(left[0], len(data))
        left[0] -= taken
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(fd, data[:taken], offset)

    partial = await cabinet.claim(DIGEST)
    await partial.append(DATA[:100])
    monkeypatch.setattr(os, "pwrite", nearly_full)
    with pytest.raises(StoreFailed):
        await partial.append(DATA[100:])
    monkeypatch.undo()
    await partial.close()
    following = await cabinet.claim(DIGEST)
    assert following.size == 100
    await following.close()


# Cancellation. ---------------------------------------------------------------------------------------------


class Traffic:
    """All threads of a pool kept busy until `clear`."""

    def __init__(self, run: Callable[..., object]) -> None:
        self._gate = threading.Event()
        self._jobs = [asyncio.ensure_future(run(self._gate.wait)) for _ in range(8)]  # type: ignore[call-overload]

    async def clear(self) -> None:
        self._gate.set()
        await asyncio.gather(*self._jobs)


@pytest.mark.parametrize("way", ["begin", "claim"])
async def test_a_cancelled_claim_leaves_no_open_file(cabinet: Cabinet, way: str) -> None:
    before = open_files()
    traffic = Traffic(cabinet.threads.writing.run)
    beginning = asyncio.create_task(getattr(cabinet.blobs, way)(DIGEST))
    await asyncio.sleep(0)
    beginning.cancel()
    await traffic.clear()
    await asyncio.gather(beginning, return_exceptions=True)
    assert open_files() == before
    assert not cabinet.committed.is_leased(DIGEST)
    await (await cabinet.claim(DIGEST)).close()


async def test_who_is_cancelled_does_not_wait_until_all_that_was_left_is_read(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cabinet.leave(DATA, whole=DATA + DATA)
    pread, begun, gate, reads = os.pread, threading.Event(), threading.Event(), []

    def slow(fd: int, size: int, offset: int) -> bytes:
        if size == PIECE:
            reads.append(offset)
            begun.set()
            gate.wait(10)
        return pread(fd, size, offset)

    monkeypatch.setattr(files, "_PIECE", PIECE)
    monkeypatch.setattr(hashing, "STEP", PIECE)
    monkeypatch.setattr(os, "pread", slow)
    claiming = asyncio.create_task(cabinet.blobs.claim(Digest.of(DATA + DATA)))
    await asyncio.to_thread(begun.wait, 10)
    claiming.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert len(reads) < len(DATA) // PIECE
    assert not cabinet.committed.is_leased(Digest.of(DATA + DATA))


async def test_a_cancelled_open_leaves_no_open_file(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    before = open_files()
    traffic = Traffic(cabinet.threads.reading.run)
    opening = asyncio.create_task(cabinet.blobs.open(DIGEST))
    await asyncio.sleep(0)
    opening.cancel()
    await traffic.clear()
    await asyncio.gather(opening, return_exceptions=True)
    assert not cabinet.committed.is_leased(DIGEST)
    assert open_files() == before
