from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Tag
from mirror.proxy.freshness import TagRecord
from mirror.store.records import StoredRecords, parse_tag_record
from mirror.store.rows import Rows
from tests.unit.oci.strategies import digests
from tests.unit.proxy.doubles import HUB, OTHER
from tests.unit.recorder import Recorder

DIGEST = Digest.of(b"manifest")
LATEST = Tag("latest")
RECORD = TagRecord(DIGEST, 1_700_000_000.25)


@pytest.fixture
async def rows(tmp_path: Path) -> AsyncIterator[Rows]:
    """An open, empty table."""
    table = Rows(tmp_path / "records", Recorder())
    await table.open()
    yield table
    await table.close()


async def test_tags_are_kept_by_repository(rows: Rows) -> None:
    records = StoredRecords(rows)
    assert await records.tag(HUB, LATEST) is None
    await records.put_tag(HUB, LATEST, RECORD)
    for memory in (records, StoredRecords(rows)):
        assert await memory.tag(HUB, LATEST) == RECORD
        assert await memory.tag(OTHER, LATEST) is None
        assert await memory.tag(HUB, Tag("Latest")) is None


async def test_a_forgotten_tag_is_gone(rows: Rows) -> None:
    records = StoredRecords(rows)
    await records.put_tag(HUB, LATEST, RECORD)
    await records.forget_tag(HUB, LATEST)
    for memory in (records, StoredRecords(rows)):
        assert await memory.tag(HUB, LATEST) is None
    assert await rows.items() == {}
    await records.put_tag(HUB, LATEST, RECORD)
    assert await records.tag(HUB, LATEST) == RECORD


async def test_media_types_are_kept(rows: Rows) -> None:
    records = StoredRecords(rows)
    assert await records.media_type(DIGEST) is None
    await records.put_media_type(DIGEST, OCI_MANIFEST)
    for memory in (records, StoredRecords(rows)):
        assert await memory.media_type(DIGEST) == OCI_MANIFEST


async def test_grants_are_kept_by_repository(rows: Rows) -> None:
    records = StoredRecords(rows)
    assert not await records.granted(HUB, DIGEST)
    await records.grant(HUB, DIGEST)
    await records.grant(HUB, DIGEST)
    for memory in (records, StoredRecords(rows)):
        assert await memory.granted(HUB, DIGEST)
        assert not await memory.granted(OTHER, DIGEST)
        assert not await memory.granted(HUB, Digest.of(b"other"))


async def test_whoever_saves_a_copy_learns_of_changes(rows: Rows) -> None:
    records = StoredRecords(rows)
    assert not records.changed
    await records.grant(HUB, DIGEST)
    assert records.changed


async def test_a_grant_that_is_there_already_is_no_change(rows: Rows) -> None:
    await StoredRecords(rows).grant(HUB, DIGEST)
    records = StoredRecords(rows)
    await records.grant(HUB, DIGEST)
    assert not records.changed


async def test_a_copy_can_be_restored(rows: Rows, tmp_path: Path) -> None:
    records = StoredRecords(rows)
    await records.put_tag(HUB, LATEST, RECORD)
    await records.grant(HUB, DIGEST)
    copy = await records.rows()
    other = Rows(tmp_path / "other", Recorder())
    await other.open()
    restored = StoredRecords(other)
    await restored.restore(copy)
    assert await restored.tag(HUB, LATEST) == RECORD
    assert await restored.granted(HUB, DIGEST)
    await other.close()


async def test_a_table_that_fails_is_still_a_memory(tmp_path: Path) -> None:
    records = StoredRecords(Rows(tmp_path / "never opened", Recorder()))
    await records.grant(HUB, DIGEST)
    assert await records.granted(HUB, DIGEST)
    assert await records.tag(HUB, LATEST) is None


@given(digests, st.floats(allow_nan=False, allow_infinity=False))
def test_a_row_is_a_record(digest: Digest, validated_at: float) -> None:
    assert parse_tag_record(json.dumps([str(digest), validated_at])) == TagRecord(digest, validated_at)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "null",
        "5",
        "{}",
        "[]",
        "not JSON",
        f'["{DIGEST}"]',
        f'["{DIGEST}", null]',
        f'["{DIGEST}", "yesterday"]',
        f'["{DIGEST}", 1, 2]',
        '["sha256:short", 1]',
        "[5, 1]",
        "[null, 1]",
        "[[], 1]",
        f'["{DIGEST}", 1' + "0" * 400 + "]",
        f'["{DIGEST}", NaN]',
        f'["{DIGEST}", Infinity]',
        f'["{DIGEST}", -Infinity]',
        "[" * 100_000,
    ],
)
def test_a_damaged_row_is_no_record(value: str) -> None:
    assert parse_tag_record(value) is None
