from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.scrubbing.scrub import Problem
from mirror.store import examination, files
from mirror.store.folder import Folder
from mirror.store.inventory import StoredInventory
from mirror.store.threads import Threads
from tests.unit.store.cabinet import Cabinet, open_files
from tests.unit.store.rot import DATA, DIGEST, inventory_of, refuse, rewrite, stored
from tests.unit.virtual_time import run

P = ParamSpec("P")
T = TypeVar("T")

MIB = 1024 * 1024


@pytest.fixture
def inventory(cabinet: Cabinet) -> StoredInventory:
    return inventory_of(cabinet)


@pytest.fixture
async def beside(cabinet: Cabinet) -> AsyncIterator[Cabinet]:
    """Another process on the folder of the first."""
    async with Cabinet(cabinet.path) as opened:
        yield opened


async def problem_of(inventory: StoredInventory, digest: Digest = DIGEST, *, fast: bool = False) -> Problem | None:
    async with inventory.examine(stored(digest), fast=fast, bandwidth=None) as examined:
        return examined.problem


@pytest.mark.parametrize("fast", [False, True])
async def test_a_good_file_has_no_problem(cabinet: Cabinet, inventory: StoredInventory, fast: bool) -> None:
    await cabinet.store(DATA)
    assert await problem_of(inventory, fast=fast) is None


async def test_a_large_file_is_read_to_its_end(cabinet: Cabinet, inventory: StoredInventory) -> None:
    data = os.urandom(9 * MIB + 1)
    digest = await cabinet.store(data)
    assert await problem_of(inventory, digest) is None
    rewrite(cabinet.file(digest), data[:-1] + bytes([data[-1] ^ 1]))
    assert await problem_of(inventory, digest) is Problem.DAMAGED


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_flipped_bit_is_damage_that_only_reading_finds(
    cabinet: Cabinet, inventory: StoredInventory, algorithm: str
) -> None:
    digest = Digest(algorithm, hashlib.new(algorithm, DATA).hexdigest())
    partial = await cabinet.claim(digest)
    await partial.append(DATA)
    await partial.commit()
    await partial.close()
    rewrite(cabinet.file(digest), bytes([DATA[0] ^ 1]) + DATA[1:])
    assert await problem_of(inventory, digest) is Problem.DAMAGED
    assert await problem_of(inventory, digest, fast=True) is None


@pytest.mark.parametrize("now", [b"", DATA[:-1], DATA + b"\0"])
@pytest.mark.parametrize("fast", [False, True])
async def test_a_file_of_another_length_is_resized(
    cabinet: Cabinet, inventory: StoredInventory, now: bytes, fast: bool
) -> None:
    await cabinet.store(DATA)
    rewrite(cabinet.file(DIGEST), now)
    assert await problem_of(inventory, fast=fast) is Problem.RESIZED


async def test_a_file_without_a_row_is_judged_by_its_bytes(cabinet: Cabinet, inventory: StoredInventory) -> None:
    await cabinet.store(DATA)
    cabinet.index.remove(DIGEST)
    assert await problem_of(inventory) is None
    rewrite(cabinet.file(DIGEST), DATA[:-1])
    assert await problem_of(inventory) is Problem.DAMAGED


async def test_a_wrong_row_does_not_condemn_right_bytes(cabinet: Cabinet, inventory: StoredInventory) -> None:
    await cabinet.store(DATA)
    cabinet.index.add(DIGEST, 5, is_manifest=False)
    assert await problem_of(inventory) is None
    blob = await cabinet.blobs.open(DIGEST)
    assert blob is not None
    assert blob.size == len(DATA)
    blob.close()


async def test_a_file_that_is_gone_has_no_problem(cabinet: Cabinet, inventory: StoredInventory) -> None:
    assert await problem_of(inventory) is None


@pytest.mark.parametrize("code", [errno.EIO, errno.EBADMSG, errno.EUCLEAN])
async def test_a_file_that_the_disk_has_lost_is_unreadable(
    cabinet: Cabinet, inventory: StoredInventory, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    await cabinet.store(DATA)
    refuse(monkeypatch, files, "read_at", code)
    assert await problem_of(inventory) is Problem.UNREADABLE
    assert await problem_of(inventory, fast=True) is None


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.ESTALE])
async def test_a_file_that_cannot_be_opened_for_want_of_something_else_is_not_held_to_be_bad(
    cabinet: Cabinet, inventory: StoredInventory, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    await cabinet.store(DATA)
    refuse(monkeypatch, Folder, "open", code)
    async with inventory.examine(stored(), fast=False, bandwidth=None) as examined:
        assert examined.problem is Problem.UNEXAMINED
        assert os.strerror(code) in examined.detail


async def test_a_scrub_is_no_use_of_a_file(cabinet: Cabinet, inventory: StoredInventory) -> None:
    older, newer = await cabinet.store(b"older"), await cabinet.store(b"newer")
    await cabinet.index.flush()
    rows = await cabinet.index_rows.items()
    for digest in (newer, older):
        assert await problem_of(inventory, digest) is None
    await cabinet.index.flush()
    assert [digest for digest, _ in cabinet.index.first_to_go()] == [older, newer]
    assert await cabinet.index_rows.items() == rows


async def test_nothing_is_left_open(
    cabinet: Cabinet, inventory: StoredInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cabinet.store(DATA)
    before = open_files()
    await problem_of(inventory)
    refuse(monkeypatch, files, "read_at", errno.EIO)
    await problem_of(inventory)
    await inventory.unfinished()
    await inventory.strangers()
    assert open_files() == before


class NoThreads(Threads):
    """Calls at once: virtual time does not wait for threads."""

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return call(*args, **kwargs)


@pytest.mark.parametrize(("size", "bandwidth", "seconds"), [(10_000, 500, 20), (10, 500, 0.02), (10_000, None, 0)])
def test_reading_takes_the_time_that_the_bandwidth_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, bandwidth: int | None, seconds: float
) -> None:
    monkeypatch.setattr(examination, "_PIECE", 1000)
    data = os.urandom(size)
    cabinet = Cabinet(tmp_path)
    cabinet.folders.start()
    cabinet.file(Digest.of(data)).write_bytes(data)
    inventory = StoredInventory(
        cabinet.folders, cabinet.committed, cabinet.index, cabinet.records, NoThreads("none", 1)
    )

    async def measured() -> float:
        async with inventory.examine(stored(Digest.of(data)), fast=False, bandwidth=bandwidth) as examined:
            assert examined.problem is None
        return asyncio.get_running_loop().time()

    assert run(measured()) == pytest.approx(seconds, abs=1e-3)
    cabinet.folders.close()


# Removal. ------------------------------------------------------------------------------------------------


async def test_a_bad_file_is_removed_and_stays_open_to_its_readers(
    cabinet: Cabinet, inventory: StoredInventory
) -> None:
    await cabinet.store(DATA)
    blob = await cabinet.blobs.open(DIGEST)
    assert blob is not None
    rewrite(cabinet.file(DIGEST), b"x" + DATA[1:])
    async with inventory.examine(stored(), fast=False, bandwidth=None) as examined:
        assert await examined.remove()
    assert not cabinet.file(DIGEST).exists()
    assert DIGEST not in cabinet.index
    assert os.pread(blob.fileno(), 3, 0) == b"x" + DATA[1:3]
    blob.close()


async def fetched_anew(cabinet: Cabinet, beside: Cabinet) -> bytes:
    await beside.committed.remove(DIGEST)
    await beside.store(DATA)
    return DATA


async def emptied(cabinet: Cabinet, beside: Cabinet) -> None:
    await beside.committed.remove(DIGEST)


async def replaced_in_one_go(cabinet: Cabinet, beside: Cabinet) -> bytes:
    copy = cabinet.path / "copy"
    copy.write_bytes(DATA)
    copy.rename(cabinet.file(DIGEST))
    return DATA


@pytest.mark.parametrize("meanwhile", [fetched_anew, emptied, replaced_in_one_go])
async def test_what_took_the_name_of_a_bad_file_meanwhile_is_left_alone(
    cabinet: Cabinet,
    inventory: StoredInventory,
    beside: Cabinet,
    meanwhile: Callable[[Cabinet, Cabinet], Awaitable[bytes | None]],
) -> None:
    await cabinet.store(DATA)
    rewrite(cabinet.file(DIGEST), b"x" + DATA[1:])
    async with inventory.examine(stored(), fast=False, bandwidth=None) as examined:
        assert examined.problem is Problem.DAMAGED
        right = await meanwhile(cabinet, beside)
        assert not await examined.remove()
    file = cabinet.file(DIGEST)
    assert (file.read_bytes() if file.exists() else None) == right


async def test_a_removal_that_the_disk_refuses_is_a_failure(
    cabinet: Cabinet, inventory: StoredInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cabinet.store(DATA)
    refuse(monkeypatch, Folder, "remove", errno.EROFS)
    async with inventory.examine(stored(), fast=False, bandwidth=None) as examined:
        with pytest.raises(StoreFailed, match="Read-only"):
            await examined.remove()
    assert DIGEST in cabinet.index


async def test_a_file_that_cannot_even_be_opened_is_removed_by_its_name(
    cabinet: Cabinet, inventory: StoredInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cabinet.store(DATA)
    refuse(monkeypatch, Folder, "open", errno.EIO)
    async with inventory.examine(stored(), fast=False, bandwidth=None) as examined:
        assert examined.problem is Problem.UNREADABLE
        assert await examined.remove()
    assert not cabinet.file(DIGEST).exists()
