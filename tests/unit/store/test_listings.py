from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.listing import Listed, Listing
from mirror.proxy.routing import Route
from mirror.store import files, listings
from mirror.store.listings import StoredListings, _parse, _render
from mirror.store.strangers import strangers
from tests.unit.proxy.doubles import HUB
from tests.unit.store.cabinet import Cabinet, open_files

TAGS = Listed(Kind.TAGS, HUB)
REFERRERS = Listed(Kind.REFERRERS, HUB, Digest.of(b"subject"))
OLD, NEW = Listing(("1.0", "latest"), 1000.5), Listing(("1.0", "2.0"), 2000.0)


def stored(cabinet: Cabinet) -> StoredListings:
    """The lists of one process."""
    return StoredListings(cabinet.folders, cabinet.threads)


def entries(cabinet: Cabinet) -> list[Path]:
    """The files of the lists, the oldest first."""
    return sorted((cabinet.path / "listings").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk take nothing more."""

    def write_all(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_all", write_all)


@pytest.mark.parametrize("listed", [TAGS, REFERRERS])
@pytest.mark.parametrize("listing", [OLD, Listing((), 5.0), Listing(('{"digest": "\\u00fc"}',), 0.1)])
async def test_what_is_kept_is_there_for_the_next_process(cabinet: Cabinet, listed: Listed, listing: Listing) -> None:
    first, second = stored(cabinet), stored(cabinet)
    assert await first.get(listed) is None
    await first.put(listed, listing)
    for process in (first, second):
        assert await process.get(listed) == listing
        assert await process.latest(listed) == listing
    assert not list(strangers(cabinet.folders))


async def test_what_another_process_put_is_the_latest(cabinet: Cabinet) -> None:
    first, second = stored(cabinet), stored(cabinet)
    await first.put(TAGS, OLD)
    await second.put(TAGS, NEW)
    assert await first.get(TAGS) == OLD
    assert await first.latest(TAGS) == NEW
    assert await first.get(TAGS) == NEW


async def test_what_is_forgotten_is_gone_for_all(cabinet: Cabinet) -> None:
    first, second = stored(cabinet), stored(cabinet)
    await first.put(TAGS, OLD)
    assert await second.get(TAGS) == OLD
    await first.forget(TAGS)
    await first.forget(REFERRERS)
    assert await first.get(TAGS) is None
    assert await second.latest(TAGS) is None
    assert entries(cabinet) == []


async def test_lists_of_other_things_are_other_lists(cabinet: Cabinet) -> None:
    kept = {
        TAGS: Listing(("a",), 1),
        REFERRERS: Listing(("b",), 1),
        Listed(Kind.REFERRERS, HUB, Digest.of(b"other")): Listing(("c",), 1),
        Listed(Kind.TAGS, Route("docker.io", Repository("other"))): Listing(("d",), 1),
        Listed(Kind.TAGS, Route("ghcr.io", HUB.repository)): Listing(("e",), 1),
    }
    for listed, listing in kept.items():
        await stored(cabinet).put(listed, listing)
    assert {listed: await stored(cabinet).get(listed) for listed in kept} == kept


# Damage. ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byte", range(0, 150, 7))
async def test_a_flipped_byte_is_no_list(cabinet: Cabinet, byte: int) -> None:
    await stored(cabinet).put(TAGS, OLD)
    [file] = entries(cabinet)
    data = bytearray(file.read_bytes())
    data[byte] ^= 1
    file.write_bytes(data)
    assert await stored(cabinet).get(TAGS) is None


async def test_a_list_under_the_name_of_another_is_none(cabinet: Cabinet) -> None:
    await stored(cabinet).put(TAGS, OLD)
    [file] = entries(cabinet)
    await stored(cabinet).put(REFERRERS, NEW)
    [other] = [path for path in entries(cabinet) if path != file]
    os.replace(file, other)
    assert await stored(cabinet).get(REFERRERS) is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"of": "tags docker.io/library/alpine", "validated_at": NaN, "entries": []}',
        b'{"of": "tags docker.io/library/alpine", "validated_at": 1e999, "entries": []}',
        b'{"of": "tags docker.io/library/alpine", "validated_at": null, "entries": []}',
        b'{"of": "tags docker.io/library/alpine", "validated_at": 1, "entries": 5}',
        b'{"of": "tags docker.io/library/other", "validated_at": 1, "entries": []}',
        b"[" * 100_000,
    ],
)
def test_what_makes_no_sense_is_no_list(document: bytes) -> None:
    assert _parse(TAGS, f"{Digest.of(document)}\n".encode() + document) is None


@given(st.binary(max_size=80))
def test_no_file_does_worse_than_be_no_list(data: bytes) -> None:
    assert _parse(TAGS, data) is None


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.floats(0, 1e12))
def test_every_list_comes_back_as_it_was(names: list[str], at: float) -> None:
    assert _parse(TAGS, _render(TAGS, Listing(tuple(names), at))) == Listing(tuple(names), at)


# The disk. -------------------------------------------------------------------------------------------------


async def test_a_disk_that_takes_nothing_leaves_the_list_in_memory(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = stored(cabinet)
    await process.put(TAGS, OLD)
    with monkeypatch.context() as patch:
        refuse(patch)
        with pytest.raises(StoreFailed):
            await process.put(TAGS, NEW)
        assert await process.get(TAGS) == await process.latest(TAGS) == NEW
    assert await stored(cabinet).get(TAGS) == OLD
    assert len(entries(cabinet)) == 1
    await process.put(TAGS, NEW)
    assert await stored(cabinet).get(TAGS) == NEW


async def test_what_the_disk_will_not_forget_this_process_forgets(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = stored(cabinet)
    await process.put(TAGS, OLD)

    def remove(name: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cabinet.folders.listings, "remove", remove)
    with pytest.raises(StoreFailed):
        await process.forget(TAGS)
    assert await process.get(TAGS) is await process.latest(TAGS) is None


async def test_where_the_disk_cannot_be_read_memory_is_what_there_is(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = stored(cabinet)
    await process.put(TAGS, OLD)

    def read(name: str) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(cabinet.folders.listings, "read", read)
    assert await process.latest(TAGS) == OLD
    assert await process.get(REFERRERS) is None


async def test_the_lists_are_bounded_and_the_oldest_goes_first(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "MOST_BYTES", 5 * 4096)
    monkeypatch.setattr(listings, "_SLACK", 0)
    process = stored(cabinet)
    of = [Listed(Kind.TAGS, Route("docker.io", Repository(f"app{number}"))) for number in range(8)]
    for number, listed in enumerate(of):
        await process.put(listed, OLD)
        os.utime(entries(cabinet)[-1], (number, number))
    assert [await stored(cabinet).get(listed) for listed in of] == [None] * 3 + [OLD] * 5


async def test_what_was_written_while_the_clock_was_ahead_makes_room_for_what_is_new(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "MOST_BYTES", 2 * 4096)
    monkeypatch.setattr(listings, "_SLACK", 0)
    process = stored(cabinet)
    of = [Listed(Kind.TAGS, Route("docker.io", Repository(f"app{number}"))) for number in range(4)]
    for listed in of[:2]:
        await process.put(listed, OLD)
    for file in entries(cabinet):
        os.utime(file, (time.time() + 1e7,) * 2)
    for listed in of[2:]:
        await process.put(listed, OLD)
    assert [await stored(cabinet).get(listed) for listed in of] == [None, None, OLD, OLD]


@pytest.mark.parametrize("written_at", [0, 4_000_000_000])
async def test_what_a_dead_writer_left_goes(cabinet: Cabinet, written_at: int) -> None:
    draft = cabinet.path / "listings" / f".{'0' * 64}.01234567.new"
    draft.write_bytes(b"half")
    os.utime(draft, (written_at, written_at))
    await stored(cabinet).put(TAGS, OLD)
    assert draft not in entries(cabinet)


async def test_memory_holds_only_so_much(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "_HOT_BYTES", 2000)
    process = stored(cabinet)
    await process.put(TAGS, OLD)
    await process.put(REFERRERS, Listing(("x" * 3000,), 1))
    await process.put(REFERRERS, Listing(("y" * 1300,), 1))
    (cabinet.path / "listings").rename(cabinet.path / "moved")
    for file in (cabinet.path / "moved").iterdir():
        file.unlink()
    assert await process.get(TAGS) is None
    assert await process.get(REFERRERS) == Listing(("y" * 1300,), 1)


@pytest.mark.parametrize("turns", range(6))
async def test_who_leaves_while_a_list_is_kept_leaves_nothing_open(cabinet: Cabinet, turns: int) -> None:
    before = open_files()
    process = stored(cabinet)
    putting = asyncio.create_task(process.put(TAGS, NEW))
    for _ in range(turns):
        await asyncio.sleep(0)
    putting.cancel()
    await asyncio.wait([putting])
    assert open_files() == before
    assert await stored(cabinet).get(TAGS) in (None, NEW)
    assert all(not file.name.endswith(".new") for file in entries(cabinet))
