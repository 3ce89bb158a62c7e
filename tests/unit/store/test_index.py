from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.store.entries import IndexEntry, Totals
from mirror.store.index import Index
from mirror.store.rows import Rows
from mirror.store.threads import Threads
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


async def load(index: Index, *files: tuple[Digest, int, float], manifests: Collection[str] = ()) -> None:
    threads = Threads("test", 1)
    try:
        await index.load(files, manifests, threads)
    finally:
        threads.close()


def all_of(work: Generator[None]) -> None:
    """Do all steps at once."""
    for _ in work:
        pass


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
    await load(again, (A, 1, 5.0), (B, 2, 6.0))
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
    await load(index, (A, 100, 1.0), (C, 3, 2.0))
    assert order(index) == [C, A]
    assert index.get(A) == IndexEntry(100, 7.0, True)
    assert index.size == 103
    assert (await rows.items()).keys() == {str(A), str(C)}


@pytest.mark.parametrize("size", [99, 101, 0])
async def test_a_file_that_is_not_as_long_as_was_committed_keeps_the_size_it_should_have(rows: Rows, size: int) -> None:
    await rows.write({str(A): "[100, 7.0, false]"})
    index = Index(rows, SettableClock())
    await load(index, (A, size, 1.0), (B, size, 1.0))
    assert index.get(A) == IndexEntry(100, 7.0, False)
    assert index.get(B) == IndexEntry(size, 1.0, False)
    assert await rows.items() == {str(A): "[100, 7.0, false]", str(B): f"[{size}, 1.0, false]"}


GARBAGE = [
    "",
    "null",
    "5",
    "{}",
    "[-10, 1.0, false]",
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
    await load(index, (A, 10, 1.0))
    assert index.get(A) == IndexEntry(10, 1.0, False)


@pytest.mark.parametrize("used_at", ["NaN", "Infinity", "-Infinity"])
async def test_a_time_that_is_none_does_not_spoil_the_order(rows: Rows, used_at: str) -> None:
    await rows.write({str(B): f"[10, {used_at}, false]"})
    index = Index(rows, SettableClock())
    await load(index, (A, 10, 3.0), (B, 10, 2.0), (C, 10, 1.0))
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


# Other processes. ------------------------------------------------------------------------------------------


def found(*digests: Digest, used_at: float = 5.0) -> dict[Digest, IndexEntry]:
    """What a look at the folder finds: of each file its size, and when it was written."""
    return {digest: IndexEntry(10, used_at, False) for digest in digests}


def known(clock: SettableClock, *digests: Digest) -> Index:
    """An index that knows these files, each used a second after the one before."""
    index = Index(Rows(Path("unused"), Recorder()), clock)
    for digest in digests:
        clock.now += 1
        index.add(digest, 10, is_manifest=False)
    index.watch()
    return index


def test_files_that_others_put_there_are_taken_over_by_when_they_were_written() -> None:
    index = known(SettableClock(100), A)
    all_of(index.reconcile(found(A) | found(B, used_at=50.0) | found(C, used_at=200.0), {}))
    assert order(index) == [B, A, C]
    assert (index.size, len(index)) == (30, 3)


def test_files_that_others_removed_are_forgotten() -> None:
    index = known(SettableClock(100), A, B)
    all_of(index.reconcile(found(B), {}))
    assert order(index) == [B]
    assert index.size == 10


def test_what_was_added_since_the_look_began_stays_and_what_was_removed_stays_away() -> None:
    index = known(SettableClock(100), A)
    index.remove(A)
    index.add(B, 10, is_manifest=True)
    all_of(index.reconcile(found(A, C), {str(A): "[10, 500.0, false]"}))
    assert order(index) == [C, B]
    index.watch()
    all_of(index.reconcile(found(A, C), {}))
    assert set(order(index)) == {A, C}


ELSEWHERE = Digest.of(b"of another process")


@pytest.mark.parametrize("when", range(8))
def test_what_is_done_between_two_steps_of_the_look_counts_whenever_that_is(when: int) -> None:
    clock = SettableClock(100)
    index = known(clock, A, B)
    rows = {str(A): "[10, 150.0, false]", str(B): "[10, 160.0, false]"}
    work = index.reconcile(found(A, B, C, ELSEWHERE), rows)
    taken = list(itertools.islice(work, when))
    assert len(taken) == when
    clock.now = 200
    for digest in (B, ELSEWHERE):
        index.remove(digest)
    index.touch(A)
    all_of(work)
    assert [(digest, entry.used_at) for digest, entry in index.first_to_go()] == [(C, 5), (A, 200)]
    assert index.size == 20


YEAR = 365 * 86400.0


def test_what_was_used_while_the_clock_was_ahead_does_not_stay_ahead_of_what_is_used() -> None:
    clock = SettableClock(1000)
    index = known(clock, A, B, C)
    clock.now += YEAR
    index.touch(B)
    index.touch(A)
    clock.now -= YEAR - 10
    index.touch(C)
    assert order(index) == [B, A, C]
    assert [entry.used_at - clock.now < 1 for _, entry in index.first_to_go()] == [True] * 3
    # Nor does what others noted meanwhile, nor what they wrote.
    index.watch()
    all_of(
        index.reconcile(found(A, B) | found(C, used_at=clock.now + YEAR), {str(B): f"[10, {clock.now + YEAR}, false]"})
    )
    assert order(index) == [B, A, C]
    clock.now += 200
    assert [digest for digest, _ in index.unused(100, lambda _: 0.0)] == [B, A, C]


async def test_what_was_used_while_the_clock_was_ahead_is_as_old_as_the_start_of_the_mirror(rows: Rows) -> None:
    clock = SettableClock(1000 + YEAR)
    index = Index(rows, clock)
    for digest in (C, A, B):
        clock.now += 1
        index.add(digest, 10, is_manifest=False)
    await index.flush()
    again = Index(rows, SettableClock(2000))
    await load(again, *((digest, 10, 500.0) for digest in (A, B, C)))
    assert order(again) == [C, A, B]
    again.touch(C)
    third = Index(rows, SettableClock(3000))
    await again.flush()
    await load(third, *((digest, 10, 500.0) for digest in (A, B, C)))
    assert order(third) == [A, B, C]


def test_the_later_use_counts_whoever_it_was() -> None:
    index = known(SettableClock(100), A, B, C)
    rows = {str(A): "[10, 150.0, false]", str(B): "[10, 50.0, true]"}
    all_of(index.reconcile(found(A, B, C), rows))
    assert order(index) == [B, C, A]
    assert index.get(B) == IndexEntry(10, 102.0, False)


def test_what_another_knows_for_a_manifest_is_one() -> None:
    index = known(SettableClock(100), A)
    all_of(index.reconcile(found(A, B), {str(A): "[10, 150.0, true]", str(B): "[10, 150.0, true]"}))
    assert index.manifests == 2


@pytest.mark.parametrize("row", ["", "garbage", "[10, NaN, false]"])
def test_a_row_of_garbage_tells_nothing_of_its_file(row: str) -> None:
    index = known(SettableClock(100), A)
    all_of(index.reconcile(found(A, B), {str(A): row, str(B): row}))
    assert order(index) == [B, A]


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

    @rule(seconds=st.sampled_from([-YEAR, -3600.0, 0.0, 1.0, 3600.0, YEAR]))
    def jump(self, seconds: float) -> None:
        self.clock.now += seconds

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


# While the folder is being looked through. -----------------------------------------------------------------

FILES = [Digest.of(bytes([number])) for number in range(6)]
MANIFESTS = {FILES[4], FILES[5]}

steps = st.lists(st.tuples(st.sampled_from(["add", "touch", "remove"]), st.sampled_from(FILES)), max_size=8)
times = st.dictionaries(st.sampled_from(FILES), st.integers(0, 2000))


class RowsInMemory(Rows):
    """A table whose rows are in memory; `read` is called when all of them have been read."""

    def __init__(self, rows: dict[str, str]) -> None:
        super().__init__(Path("unused"), Recorder())
        self.all = rows
        self.read: Callable[[], None] = lambda: None

    async def figures(self, query: str) -> tuple[int, ...] | None:
        return None

    async def items(self) -> dict[str, str]:
        rows = dict(self.all)
        self.read()
        return rows

    async def write(self, changes: Mapping[str, str | None]) -> bool:
        self.all = {key: value for key, value in {**self.all, **changes}.items() if value is not None}
        return True

    async def add(self, rows: Mapping[str, str]) -> bool:
        self.all = {**rows, **self.all}
        return True


class Story:
    """An index that is loaded while or before it is used, and what comes of it."""

    def __init__(self, noted: Mapping[Digest, int], now: int) -> None:
        self.clock = SettableClock(now)
        self.rows = RowsInMemory(
            {str(one): f"[5, {at}.0, {json.dumps(one in MANIFESTS)}]" for one, at in noted.items()}
        )
        self.index = Index(self.rows, self.clock)

    async def load(self, on_disk: Mapping[Digest, int]) -> None:
        files = [(digest, 5, float(written)) for digest, written in on_disk.items()]
        await load(self.index, *files, manifests={str(digest) for digest in MANIFESTS})

    def take(self, done: Iterable[tuple[str, Digest]]) -> None:
        for step, digest in done:
            self.clock.now += 1
            if step == "add":
                self.index.add(digest, 7, is_manifest=digest in MANIFESTS)
            elif step == "touch":
                self.index.touch(digest)
            else:
                self.index.remove(digest)

    async def end(self) -> tuple[list[tuple[Digest, IndexEntry]], int, int, dict[str, str]]:
        await self.index.flush()
        return list(self.index.first_to_go()), self.index.size, self.index.manifests, self.rows.all


@given(times, times, steps, steps)
async def test_what_is_done_while_files_are_looked_through_counts_as_if_it_were_done_after(
    on_disk: dict[Digest, int],
    noted: dict[Digest, int],
    before: list[tuple[str, Digest]],
    then: list[tuple[str, Digest]],
) -> None:
    during, after = Story(noted, 3000), Story(noted, 3000)
    await after.load(on_disk)
    after.take(before + then)

    await during.index.begin()
    during.take(before)
    during.rows.read = lambda: during.take(then)
    was_whole = during.index.is_whole
    await during.load(on_disk)
    assert (was_whole, during.index.is_whole) == (False, True)
    assert await during.end() == await after.end()


async def test_until_all_is_known_the_rows_tell_how_much_there_is(rows: Rows) -> None:
    await rows.write({str(A): "[100, 7.0, true]", str(B): "[5, 9.0, false]", str(C): "rot", "other": '["x"]'})
    index = Index(rows, SettableClock(10))
    await index.begin()
    assert index.totals() == Totals(105, 1, 1)
    index.add(C, 3, is_manifest=False)
    assert index.at_most() == 108
    await load(index, (B, 5, 1.0))
    assert index.totals() == Totals(8, 0, 2)
    assert index.at_most() == 8


@pytest.mark.parametrize(
    ("row", "size", "manifests"),
    [
        ("[5, 7.0, 1e999]", 105, 1),
        ("[5, 7.0, 77]", 105, 1),
        ('[5, 7.0, "x"]', 105, 1),
        ("[-5, 7.0, false]", 100, 1),
        ("[1e999, 7.0, false]", 100, 1),
        (f"[{2**63 - 1}, 7.0, false]", 100, 1),
        (f"[{10**30}, 7.0, false]", 100, 1),
    ],
)
async def test_a_row_that_lies_does_not_spoil_what_the_others_tell(
    rows: Rows, row: str, size: int, manifests: int
) -> None:
    await rows.write({str(A): "[100, 7.0, true]", str(B): row})
    index = Index(rows, SettableClock(10))
    await index.begin()
    assert (index.totals().size, index.totals().manifests) == (size, manifests)
    assert index.totals().blobs >= 0
    assert index.at_most() == size


async def test_of_a_file_that_went_again_nothing_is_kept(rows: Rows) -> None:
    index = Index(rows, SettableClock(10))
    await index.begin()
    await load(index)
    held = sys.getrefcount(A)
    for _ in range(2):
        index.add(A, 5, is_manifest=False)
        index.touch(A)
        index.remove(A)
        await index.flush()
        assert sys.getrefcount(A) == held
        index.watch()
        all_of(index.reconcile({}, {}))


async def test_a_table_that_tells_nothing_promises_no_room(rows: Rows) -> None:
    index = Index(rows, SettableClock(10))
    await index.begin()
    assert index.totals() == Totals()
    assert index.at_most() >= 2**60
    await load(index)
    assert index.at_most() == 0


async def test_the_row_of_a_file_is_looked_up_while_not_all_are_known(rows: Rows) -> None:
    await rows.write({str(A): "[100, 7.0, true]", str(B): "[5, 9.0, false]", str(C): "rot"})
    index = Index(rows, SettableClock(10))
    await index.begin()
    assert await index.find(A) == IndexEntry(100, 7.0, True)
    assert await index.find(C) is None
    index.remove(B)
    assert await index.find(B) is None
    assert list(index.first_to_go()) == []
    await load(index)
    assert await index.find(A) is None


async def test_who_needs_to_know_all_waits_for_it_but_not_forever(rows: Rows) -> None:
    index = Index(rows, SettableClock(10))
    await index.known()
    await index.begin()
    with pytest.raises(StoreFailed, match="still being looked through"):
        await index.known(0.001)
    waiting = asyncio.create_task(index.known())
    await load(index)
    await waiting
