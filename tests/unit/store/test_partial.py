from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

import pytest

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from tests.unit.store.cabinet import Cabinet, open_files

DATA = b"some content" * 1000
DIGEST = Digest.of(DATA)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_verified_file_is_committed(cabinet: Cabinet, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    partial = await cabinet.blobs.begin(digest)
    for piece in (DATA[:5000], b"", DATA[5000:]):
        assert not partial.verified()
        await partial.append(piece)
    assert partial.verified()
    assert not cabinet.file(digest).exists()
    await partial.commit()
    await partial.close()
    assert cabinet.file(digest).read_bytes() == DATA
    assert cabinet.file(digest).stat().st_mode & 0o777 == 0o444
    assert cabinet.partial_files == []
    entry = cabinet.index.get(digest)
    assert entry is not None
    assert (entry.size, entry.is_manifest) == (len(DATA), False)


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"x", b"other"])
async def test_nothing_else_is_committed(cabinet: Cabinet, data: bytes) -> None:
    partial = await cabinet.blobs.begin(DIGEST)
    await partial.append(data)
    assert not partial.verified()
    with pytest.raises(StoreFailed):
        await partial.commit()
    await partial.discard()
    await partial.close()
    assert not cabinet.file(DIGEST).exists()
    assert DIGEST not in cabinet.index
    assert cabinet.partial_files == []


async def test_readers_follow_the_growing_file_and_keep_it(cabinet: Cabinet) -> None:
    partial = await cabinet.blobs.begin(DIGEST)
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


async def test_nothing_stays_open(cabinet: Cabinet) -> None:
    before = open_files()
    for commit in (True, False):
        partial = await cabinet.begin(DATA)
        reader = partial.reader()
        await (partial.commit() if commit else partial.discard())
        await partial.close()
        reader.close()
    assert open_files() == before


async def test_two_writers_of_one_digest_do_not_meet(cabinet: Cabinet) -> None:
    # A manifest that is asked for as a blob too, or that two repositories ask for at once, has two writers.
    first = await cabinet.begin(DATA)
    second = await cabinet.blobs.begin(DIGEST)
    await second.append(DATA[:10])
    await first.commit()
    assert cabinet.file(DIGEST).read_bytes() == DATA
    await second.append(DATA[10:])
    await second.commit()
    assert cabinet.file(DIGEST).read_bytes() == DATA
    await first.close()
    await second.close()


async def test_a_writer_that_gives_up_takes_nothing_from_the_other(cabinet: Cabinet) -> None:
    first = await cabinet.begin(DATA)
    second = await cabinet.begin(DATA)
    await first.discard()
    await first.close()
    await second.commit()
    await second.close()
    assert cabinet.file(DIGEST).read_bytes() == DATA


class Traffic:
    """All threads of a pool kept busy until `clear`."""

    def __init__(self, run: Callable[..., object]) -> None:
        self._gate = threading.Event()
        self._jobs = [asyncio.ensure_future(run(self._gate.wait)) for _ in range(8)]  # type: ignore[call-overload]

    async def clear(self) -> None:
        self._gate.set()
        await asyncio.gather(*self._jobs)


async def test_a_cancelled_begin_leaves_no_open_file(cabinet: Cabinet) -> None:
    before = open_files()
    traffic = Traffic(cabinet.threads.writing.run)
    beginning = asyncio.create_task(cabinet.blobs.begin(DIGEST))
    await asyncio.sleep(0)
    beginning.cancel()
    await traffic.clear()
    await asyncio.gather(beginning, return_exceptions=True)
    assert open_files() == before


async def test_a_cancelled_open_leaves_no_open_file(cabinet: Cabinet) -> None:
    await cabinet.store(DATA)
    before = open_files()
    traffic = Traffic(cabinet.threads.reading.run)
    opening = asyncio.create_task(cabinet.blobs.open(DIGEST))
    await asyncio.sleep(0)
    opening.cancel()
    await traffic.clear()
    await asyncio.gather(opening, return_exceptions=True)
    assert not cabinet.blobs.is_leased(DIGEST)
    assert open_files() == before
