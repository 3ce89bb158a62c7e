from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX, OCI_MANIFEST
from mirror.oci.reference import Tag, Variant
from mirror.proxy.cache_status import Kind
from mirror.proxy.freshness import TagRecord
from mirror.proxy.interfaces.views import Sighting
from mirror.proxy.routing import Route
from mirror.store import pruning
from mirror.store.record_rows import parse_tag_record, render_tag_record
from mirror.store.records import StoredRecords
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


async def test_what_a_tag_is_to_some_clients_is_kept_apart_from_the_tag(rows: Rows) -> None:
    records = StoredRecords(rows)
    variants = [
        Variant(LATEST, (OCI_MANIFEST,)),
        Variant(LATEST, (OCI_INDEX,)),
        Variant(LATEST, (OCI_MANIFEST, OCI_INDEX)),
    ]
    for number, variant in enumerate(variants):
        await records.put_tag(HUB, variant, TagRecord(DIGEST, number))
    for memory in (records, StoredRecords(rows)):
        assert await memory.tag(HUB, LATEST) is None
        for number, variant in enumerate(variants):
            assert await memory.latest_tag(HUB, variant) == TagRecord(DIGEST, number)
    await records.put_tag(HUB, LATEST, RECORD)
    await records.forget_tag(HUB, variants[0])
    assert await records.tag(HUB, variants[0]) is None
    assert await records.tag(HUB, LATEST) == RECORD
    # What is no longer kept is not spoken of.
    await records.prune(lambda digest: False, none)
    assert await rows.items() == {}


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


async def test_a_grant_is_recalled_while_it_is_in_memory(rows: Rows) -> None:
    records = StoredRecords(rows)
    recalls = records.recalls_grant(HUB, DIGEST)
    assert not recalls()
    await records.grant(HUB, DIGEST)
    assert recalls()
    assert not StoredRecords(rows).recalls_grant(HUB, DIGEST)()


SEEN = Sighting(1_700_000_000.25, Kind.MANIFEST, LATEST)


@pytest.mark.parametrize(
    "sighting", [SEEN, Sighting(5.0, Kind.BLOB, DIGEST), Sighting(5.0, Kind.TAGS, None)], ids=lambda one: str(one.kind)
)
async def test_what_is_public_is_kept_by_repository(rows: Rows, sighting: Sighting) -> None:
    records = StoredRecords(rows)
    assert await records.public(HUB) is None
    await records.put_public(HUB, sighting)
    for memory in (records, StoredRecords(rows)):
        assert await memory.public(HUB) == sighting
        assert await memory.public(OTHER) is None
    another = StoredRecords(rows)
    await another.forget_public(HUB)
    assert await records.public(HUB) is None
    assert await rows.items() == {}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "5.0",
        "null",
        "[]",
        "{}",
        '[5, "manifest"]',
        '["soon", "manifest", "latest"]',
        '[NaN, "manifest", "latest"]',
        '[Infinity, "manifest", "latest"]',
        '[5, "nonsense", "latest"]',
        '[5, "manifest", "../latest"]',
        '[5, "manifest", "sha256:short"]',
        '[5, "manifest", 5]',
        "[" * 100_000,
    ],
)
async def test_a_damaged_row_makes_nothing_public(rows: Rows, value: str) -> None:
    await rows.write({f"public {HUB}": value})
    assert await StoredRecords(rows).public(HUB) is None


async def test_that_credentials_were_used_is_not_forgotten(rows: Rows) -> None:
    records = StoredRecords(rows)
    assert not await records.credentialed("docker.io")
    await records.put_credentialed("docker.io")
    await records.put_credentialed("docker.io")
    await records.prune(lambda _: False, none)
    for memory in (records, StoredRecords(rows)):
        assert await memory.credentialed("docker.io")
        assert not await memory.credentialed("ghcr.io")


async def test_what_is_public_is_forgotten_with_the_last_of_its_content(rows: Rows) -> None:
    records = StoredRecords(rows)
    for route in (HUB, OTHER):
        await records.put_public(route, SEEN)
    await records.grant(HUB, DIGEST)
    await records.prune(lambda digest: digest == DIGEST, none)
    assert await records.public(HUB) == SEEN
    assert await records.public(OTHER) is None
    await records.prune(lambda _: False, none)
    assert await rows.items() == {}


@pytest.mark.parametrize(("age", "is_known"), [(0, True), (3599, True), (-3599, True), (3600, False), (-3600, False)])
async def test_what_was_seen_lately_may_be_of_content_that_is_on_its_way(rows: Rows, age: int, is_known: bool) -> None:
    records = StoredRecords(rows, clock=lambda: SEEN.at + age)
    await records.put_public(HUB, SEEN)
    await records.prune(lambda _: False, none)
    assert (await records.public(HUB) == SEEN) is is_known


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


class Moody(Rows):
    """A table that cannot be read, or takes nothing, now and then."""

    failing = False
    full = False

    async def get(self, key: str) -> str | None:
        if self.failing:
            raise StoreFailed("a row could not be read")
        return await super().get(key)

    async def write(self, changes: Mapping[str, str | None]) -> bool:
        return not self.full and await super().write(changes)


async def test_where_it_cannot_be_told_credentials_may_have_been_used(tmp_path: Path) -> None:
    table = Moody(tmp_path / "records", Recorder())
    await table.open()
    records = StoredRecords(table)
    table.failing = True
    assert await records.credentialed("docker.io")
    await records.put_credentialed("docker.io")
    table.failing = False
    assert await StoredRecords(table).credentialed("docker.io")
    await table.close()


async def test_who_may_have_what_is_written_as_soon_as_the_table_takes_anything_again(tmp_path: Path) -> None:
    table = Moody(tmp_path / "records", Recorder())
    await table.open()
    records = StoredRecords(table)
    await records.put_public(HUB, SEEN)
    table.full = True
    await records.forget_public(HUB)
    await records.put_credentialed("docker.io")
    table.full = False
    await records.grant(OTHER, DIGEST)
    after = StoredRecords(table)
    assert await after.public(HUB) is None
    assert await after.credentialed("docker.io")
    await table.close()


async def test_a_row_that_could_not_be_read_is_looked_for_again(tmp_path: Path) -> None:
    table = Moody(tmp_path / "records", Recorder())
    await table.open()
    before = StoredRecords(table)
    await before.put_tag(HUB, LATEST, RECORD)
    await before.grant(HUB, DIGEST)
    await before.put_media_type(DIGEST, OCI_MANIFEST)
    records = StoredRecords(table)
    table.failing = True
    assert await records.tag(HUB, LATEST) is None
    assert not await records.granted(HUB, DIGEST)
    assert await records.media_type(DIGEST) is None
    table.failing = False
    assert await records.tag(HUB, LATEST) == RECORD
    assert await records.granted(HUB, DIGEST)
    assert await records.media_type(DIGEST) == OCI_MANIFEST
    await table.close()


GONE = Digest.of(b"gone")


async def none(_: set[Digest]) -> set[Digest]:
    """Nothing more is on disk."""
    return set()


async def test_what_concerns_nothing_that_is_kept_is_forgotten(rows: Rows) -> None:
    records = StoredRecords(rows)
    for digest in (DIGEST, GONE):
        tag = Tag(digest.encoded)
        await records.put_tag(HUB, tag, TagRecord(digest, 5.0))
        await records.put_media_type(digest, OCI_MANIFEST)
        await records.grant(HUB, digest)
        await records.grant(Route("localhost:5000", OTHER.repository), digest)
    await records.prune(lambda digest: digest == DIGEST, none)
    for memory in (records, StoredRecords(rows)):
        assert await memory.tag(HUB, Tag(DIGEST.encoded)) == TagRecord(DIGEST, 5.0)
        assert await memory.media_type(DIGEST) == OCI_MANIFEST
        assert await memory.granted(HUB, DIGEST)
        assert await memory.granted(Route("localhost:5000", OTHER.repository), DIGEST)
        assert await memory.tag(HUB, Tag(GONE.encoded)) is None
        assert await memory.media_type(GONE) is None
        assert not await memory.granted(HUB, GONE)
    assert not [key for key in await rows.items() if GONE.encoded in key]


async def test_pruning_keeps_what_is_kept_and_is_no_change(rows: Rows) -> None:
    records = StoredRecords(rows)
    await records.put_tag(HUB, LATEST, RECORD)
    await records.grant(HUB, DIGEST)
    before = await rows.items()
    records.changed = False
    await records.prune(lambda digest: True, none)
    assert await rows.items() == before
    assert not records.changed


@pytest.mark.parametrize("key", ["", "tag", "grant x", "type ", "type nonsense", "grant a/b@sha256:short", "else x"])
async def test_rows_of_garbage_are_forgotten(rows: Rows, key: str) -> None:
    await rows.write({key: "x", "tag docker.io/a:b": "[]"})
    records = StoredRecords(rows)
    await records.grant(HUB, DIGEST)
    await records.prune(lambda digest: True, none)
    assert (await rows.items()).keys() == {f"grant {HUB}@{DIGEST}"}


class Meanwhile(Rows):
    """A table in which something else happens while it is read from end to end."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Recorder())
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def items(self) -> dict[str, str]:
        found = await super().items()
        if self.meanwhile is not None:
            await self.meanwhile()
        return found


async def test_what_is_written_while_pruning_looks_is_not_forgotten(tmp_path: Path) -> None:
    table = Meanwhile(tmp_path / "records")
    await table.open()
    records = StoredRecords(table)
    await records.put_tag(HUB, LATEST, TagRecord(GONE, 5.0))
    table.meanwhile = lambda: records.put_tag(HUB, LATEST, RECORD)
    await records.prune(lambda digest: digest == DIGEST, none)
    for memory in (records, StoredRecords(table)):
        assert await memory.tag(HUB, LATEST) == RECORD
    await table.close()


async def test_what_comes_while_others_are_forgotten_is_not_forgotten(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, write = StoredRecords(rows), rows.write
    coming = {Digest.of(b"%d" % number) for number in range(2 * pruning._BATCH)}
    kept: set[Digest] = set()
    await rows.add({f"type {digest}": OCI_MANIFEST for digest in coming})

    async def written(changes: Mapping[str, str | None]) -> bool:
        kept.update(coming)
        return await write(changes)

    monkeypatch.setattr(rows, "write", written)
    await records.prune(lambda digest: digest in kept, none)
    assert len(await rows.items()) == pruning._BATCH


async def test_what_another_process_writes_anew_while_pruning_looks_is_not_forgotten(
    rows: Rows, tmp_path: Path
) -> None:
    table = Rows(tmp_path / "records", Recorder())
    await table.open()
    mine, theirs = StoredRecords(rows), StoredRecords(table)
    await mine.put_tag(HUB, LATEST, TagRecord(GONE, 5.0))
    await mine.grant(HUB, GONE)

    async def meanwhile(_: set[Digest]) -> set[Digest]:
        await theirs.put_tag(HUB, LATEST, RECORD)
        return set()

    await mine.prune(lambda _: False, meanwhile)
    for memory in (mine, theirs, StoredRecords(rows)):
        assert await memory.tag(HUB, LATEST) == RECORD
    assert not await StoredRecords(rows).granted(HUB, GONE)
    await table.close()


async def test_what_another_process_keeps_is_not_forgotten(rows: Rows) -> None:
    records = StoredRecords(rows)
    elsewhere = Digest.of(b"elsewhere")
    for digest in (DIGEST, GONE, elsewhere):
        await records.grant(HUB, digest)
    asked: list[set[Digest]] = []

    async def are_kept(digests: set[Digest]) -> set[Digest]:
        asked.append(digests)
        return digests & {elsewhere}

    await records.prune(lambda digest: digest == DIGEST, are_kept)
    assert asked == [{GONE, elsewhere}]
    assert (await rows.items()).keys() == {f"grant {HUB}@{DIGEST}", f"grant {HUB}@{elsewhere}"}


async def test_what_comes_while_the_disk_is_looked_at_is_not_forgotten(rows: Rows) -> None:
    records = StoredRecords(rows)
    await records.grant(HUB, GONE)
    kept: set[Digest] = set()

    async def meanwhile(digests: set[Digest]) -> set[Digest]:
        kept.update(digests)
        return set()

    await records.prune(lambda digest: digest in kept, meanwhile)
    assert await StoredRecords(rows).granted(HUB, GONE)


# Two processes. --------------------------------------------------------------------------------------------


async def test_what_another_process_wrote_is_found(rows: Rows, tmp_path: Path) -> None:
    table = Rows(tmp_path / "records", Recorder())
    await table.open()
    mine, theirs = StoredRecords(rows), StoredRecords(table)
    assert await mine.tag(HUB, LATEST) is None
    assert not await mine.granted(HUB, DIGEST)
    await theirs.put_tag(HUB, LATEST, RECORD)
    await theirs.grant(HUB, DIGEST)
    await theirs.put_media_type(DIGEST, OCI_MANIFEST)
    assert await mine.tag(HUB, LATEST) == RECORD
    assert await mine.granted(HUB, DIGEST)
    assert await mine.media_type(DIGEST) == OCI_MANIFEST
    await table.close()


async def test_the_latest_tag_is_whoever_s_it_is(rows: Rows, tmp_path: Path) -> None:
    table = Rows(tmp_path / "records", Recorder())
    await table.open()
    mine, theirs = StoredRecords(rows), StoredRecords(table)
    await mine.put_tag(HUB, LATEST, RECORD)
    newer = TagRecord(Digest.of(b"newer"), RECORD.validated_at + 60)
    await theirs.put_tag(HUB, LATEST, newer)
    assert await mine.tag(HUB, LATEST) == RECORD
    assert await mine.latest_tag(HUB, LATEST) == newer
    assert await mine.tag(HUB, LATEST) == newer
    await theirs.forget_tag(HUB, LATEST)
    assert await mine.latest_tag(HUB, LATEST) is None
    assert await mine.tag(HUB, LATEST) is None
    await table.close()


async def test_what_could_not_be_written_is_newer_than_what_is_there(tmp_path: Path) -> None:
    class Full(Rows):
        full = False

        async def write(self, changes: Mapping[str, str | None]) -> bool:
            return not self.full and await super().write(changes)

    table = Full(tmp_path / "records", Recorder())
    await table.open()
    records = StoredRecords(table)
    await records.put_tag(HUB, LATEST, RECORD)
    table.full = True
    newer = TagRecord(Digest.of(b"newer"), RECORD.validated_at + 60)
    await records.put_tag(HUB, LATEST, newer)
    assert await records.latest_tag(HUB, LATEST) == newer
    await records.forget_tag(HUB, LATEST)
    assert await records.latest_tag(HUB, LATEST) is None
    table.full = False
    await records.put_tag(HUB, LATEST, newer)
    assert await StoredRecords(table).tag(HUB, LATEST) == newer
    await table.close()


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
        f'["{DIGEST}", 1, 2, 3]',
        f'["{DIGEST}", 1, null]',
        f'["{DIGEST}", 1, "lately"]',
        f'["{DIGEST}", 1, Infinity]',
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


def test_a_row_of_before_deletions_were_noted_is_of_a_tag_that_is_there() -> None:
    assert parse_tag_record(f'["{DIGEST}", 5.0]') == TagRecord(DIGEST, 5.0, None)


@pytest.mark.parametrize("record", [TagRecord(DIGEST, 5.5), TagRecord(DIGEST, 5.5, 7.25), TagRecord(DIGEST, 5.5, 0.0)])
def test_a_tag_record_is_read_as_it_was_written(record: TagRecord) -> None:
    assert parse_tag_record(render_tag_record(record)) == record


async def test_a_tag_that_moves_while_the_disk_is_looked_at_is_not_forgotten(rows: Rows) -> None:
    records = StoredRecords(rows)
    await records.put_tag(HUB, LATEST, TagRecord(GONE, 5.0))

    async def meanwhile(_: set[Digest]) -> set[Digest]:
        await records.put_tag(HUB, LATEST, RECORD)
        return set()

    await records.prune(lambda digest: digest == DIGEST, meanwhile)
    for memory in (records, StoredRecords(rows)):
        assert await memory.tag(HUB, LATEST) == RECORD
