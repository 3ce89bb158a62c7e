"""A purge while another process looks: what was read before it is not remembered after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mirror.oci.digest import Digest
from mirror.oci.reference import Tag
from mirror.proxy.freshness import TagRecord
from tests.unit.proxy.doubles import HUB
from tests.unit.store.cabinet import Cabinet

TAG = Tag("3.20")
RECORD = TagRecord(Digest.of(b"manifest"), 1.0)


async def purge(cabinet: Cabinet) -> None:
    """Forget everything, as a sweeper does."""
    await cabinet.records.drop(lambda _: True)
    cabinet.purges.tell()


async def test_what_is_in_memory_is_forgotten_by_every_process(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as one, Cabinet(tmp_path) as other:
        await one.records.put_tag(HUB, TAG, RECORD)
        assert await other.records.tag(HUB, TAG) == RECORD
        await purge(one)
        assert await other.records.tag(HUB, TAG) is None
        assert await one.records.tag(HUB, TAG) is None


async def test_a_grant_that_another_process_has_purged_is_recalled_no_more(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as one, Cabinet(tmp_path) as other:
        await one.records.grant(HUB, RECORD.digest)
        recalls = one.records.recalls_grant(HUB, RECORD.digest)
        assert recalls()
        await purge(other)
        assert not recalls()


async def test_a_row_that_was_read_before_a_purge_is_not_remembered_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cabinet(tmp_path) as one, Cabinet(tmp_path) as other:
        await one.records.put_tag(HUB, TAG, RECORD)
        read, is_read, go_on = other.rows.get, asyncio.Event(), asyncio.Event()

        async def slowly(key: str) -> str | None:
            value = await read(key)
            is_read.set()
            await go_on.wait()
            return value

        monkeypatch.setattr(other.rows, "get", slowly)
        looking = asyncio.create_task(other.records.tag(HUB, TAG))
        await is_read.wait()
        await purge(one)
        go_on.set()
        # Whoever asked before the purge may be told what was true then; nobody after it.
        await looking
        assert await other.records.tag(HUB, TAG) is None


async def test_a_purge_that_a_killed_process_did_not_tell_is_told_by_the_next_that_starts(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as one, Cabinet(tmp_path) as other:
        await one.records.put_tag(HUB, TAG, RECORD)
        assert await other.records.tag(HUB, TAG) == RECORD
        await one.records.drop(lambda _: True)
        assert await other.records.tag(HUB, TAG) == RECORD
        async with Cabinet(tmp_path):
            assert await other.records.tag(HUB, TAG) is None
