from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mirror.oci.digest import Digest
from mirror.store.index import Index, IndexEntry
from mirror.store.rows import Rows
from tests.unit.proxy.doubles import SettableClock
from tests.unit.recorder import Recorder

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))


@pytest.fixture
async def rows(tmp_path: Path) -> AsyncIterator[Rows]:
    """An open, empty table."""
    table = Rows(tmp_path / "index", Recorder())
    await table.open()
    yield table
    await table.close()


def order(index: Index) -> list[Digest]:
    return [digest for digest, _ in index.first_to_go()]


async def test_the_least_recently_used_comes_first(rows: Rows) -> None:
    clock = SettableClock(0)
    index = Index(rows, clock)
    for digest in (A, B, C):
        clock.now += 1
        index.add(digest, 10, is_manifest=False)
    assert order(index) == [A, B, C]
    index.touch(A)
    assert order(index) == [B, C, A]
    index.add(B, 20, is_manifest=True)
    assert order(index) == [C, A, B]
    index.touch(C)
    assert order(index) == [A, C, B]
    assert (index.size, index.manifests, len(index)) == (40, 1, 3)
    index.remove(C)
    index.remove(C)
    index.touch(C)
    assert order(index) == [A, B]
    assert (index.size, index.manifests, C in index, index.get(C)) == (30, 1, False, None)


async def test_what_was_known_is_known_after_a_restart(rows: Rows) -> None:
    clock = SettableClock(1000)
    index = Index(rows, clock)
    for digest, size, is_manifest in ((A, 1, True), (B, 2, False), (C, 3, False)):
        clock.now += 1
        index.add(digest, size, is_manifest=is_manifest)
    index.touch(A)
    index.remove(C)
    await index.flush()

    again = Index(rows, clock)
    await again.load([(A, IndexEntry(1, 5.0, False)), (B, IndexEntry(2, 6.0, False))])
    assert order(again) == [B, A]
    assert again.get(A) == IndexEntry(1, 1003.0, True)
    assert (again.size, again.manifests) == (3, 1)


async def test_blobs_go_before_manifests(rows: Rows) -> None:
    index = Index(rows, SettableClock())
    for digest, is_manifest in ((A, True), (B, False), (C, False)):
        index.add(digest, 10, is_manifest=is_manifest)
    assert order(index) == [B, C, A]
    index.add(B, 10, is_manifest=True)
    assert order(index) == [C, A, B]
    index.add(A, 10, is_manifest=False)
    assert order(index) == [C, A, B]
    assert (index.size, index.manifests, len(index)) == (30, 1, 3)


async def test_files_are_the_truth(rows: Rows) -> None:
    await rows.write({str(A): "[100, 7.0, true]", str(B): "[5, 9.0, true]", "garbage": "x"})
    index = Index(rows, SettableClock())
    assert await index.load([(A, IndexEntry(100, 1.0, False)), (C, IndexEntry(3, 2.0, False))]) == []
    assert order(index) == [C, A]
    assert index.get(A) == IndexEntry(100, 7.0, True)
    assert index.size == 103
    assert (await rows.items()).keys() == {str(A), str(C)}


@pytest.mark.parametrize("size", [99, 101, 0])
async def test_a_file_that_is_not_as_long_as_was_committed_is_damaged(rows: Rows, size: int) -> None:
    await rows.write({str(A): "[100, 7.0, false]"})
    index = Index(rows, SettableClock())
    assert await index.load([(A, IndexEntry(size, 1.0, False)), (B, IndexEntry(size, 1.0, False))]) == [A]
    assert order(index) == [B]
    assert (index.size, A in index) == (size, False)
    assert (await rows.items()).keys() == {str(B)}
    # Without a row there is nothing to compare with: whoever leaves the file there gets it as it is.
    assert await Index(rows, SettableClock()).load([(A, IndexEntry(size, 1.0, False))]) == []


GARBAGE = [
    "",
    "null",
    "5",
    "{}",
    "[1]",
    "[10]",
    "not JSON",
    '["10", 1, true]',
    "[10, null, true]",
    '[10, "x", true]',
    "[10, {}, true]",
    "[10, 1" + "0" * 400 + ", true]",
    "[" * 100_000,
]


@pytest.mark.parametrize("row", GARBAGE)
async def test_a_row_of_garbage_is_as_good_as_none(rows: Rows, row: str) -> None:
    await rows.write({str(A): row})
    index = Index(rows, SettableClock())
    assert await index.load([(A, IndexEntry(10, 1.0, False))]) == []
    assert index.get(A) == IndexEntry(10, 1.0, False)


@pytest.mark.parametrize("used_at", ["NaN", "Infinity", "-Infinity"])
async def test_a_time_that_is_none_does_not_spoil_the_order(rows: Rows, used_at: str) -> None:
    await rows.write({str(B): f"[10, {used_at}, false]"})
    index = Index(rows, SettableClock())
    files = [(digest, IndexEntry(10, used, False)) for digest, used in ((A, 3.0), (B, 2.0), (C, 1.0))]
    await index.load(files)
    assert order(index) == [C, B, A]


async def test_only_changes_are_written(rows: Rows) -> None:
    index = Index(rows, SettableClock(5))
    index.add(A, 1, is_manifest=False)
    await index.flush()
    before = await rows.items()
    await rows.write({str(A): None})
    await index.flush()
    assert before == {str(A): "[1, 5, false]"}
    assert await rows.items() == {}


class IndexMachine(RuleBasedStateMachine):
    """The index, beside a list that is kept in order the simple way."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SettableClock(0)
        self.index = Index(Rows(Path("unused"), Recorder()), self.clock)
        self.expected: list[tuple[Digest, int, bool]] = []

    digests = st.sampled_from([Digest.of(bytes([number])) for number in range(6)])

    def _without(self, digest: Digest) -> list[tuple[Digest, int, bool]]:
        return [entry for entry in self.expected if entry[0] != digest]

    @rule(digest=digests, size=st.integers(0, 2**40), is_manifest=st.booleans())
    def add(self, digest: Digest, size: int, is_manifest: bool) -> None:
        self.index.add(digest, size, is_manifest=is_manifest)
        self.expected = [*self._without(digest), (digest, size, is_manifest)]

    @rule(digest=digests)
    def touch(self, digest: Digest) -> None:
        self.index.touch(digest)
        self.expected = [*self._without(digest), *(entry for entry in self.expected if entry[0] == digest)]

    @rule(digest=digests)
    def remove(self, digest: Digest) -> None:
        self.index.remove(digest)
        self.expected = self._without(digest)

    @invariant()
    def the_sums_are_right(self) -> None:
        found = [(digest, entry.size, entry.is_manifest) for digest, entry in self.index.first_to_go()]
        assert found == sorted(self.expected, key=lambda entry: entry[2])
        assert self.index.size == sum(size for _, size, _ in self.expected)
        assert self.index.manifests == sum(is_manifest for _, _, is_manifest in self.expected)
        assert len(self.index) == len(self.expected)


TestIndexMachine = IndexMachine.TestCase
