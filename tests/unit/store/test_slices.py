"""What is long is done in slices, and the loop turns between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

from mirror.oci.digest import Digest
from mirror.store import pruning
from mirror.store.slices import in_turns
from tests.unit.store.cabinet import Cabinet

MANY = 2000
A_TURN = 200
# Steps that are taken without anybody's having a turn between them.


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.count = 0

    async def go(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def turns() -> AsyncIterator[Turns]:
    """Turns of the loop within this context."""
    counting = Turns()
    task = asyncio.create_task(counting.go())
    await asyncio.sleep(0)
    yield counting
    task.cancel()


def steps(count: int, taken: list[int]) -> Generator[None]:
    for number in range(count):
        taken.append(number)
        yield


async def test_all_steps_are_taken_in_turns() -> None:
    taken: list[int] = []
    async with turns() as counting:
        await in_turns(steps(MANY, taken))
    assert taken == list(range(MANY))
    assert counting.count >= MANY // A_TURN


async def test_who_is_cancelled_takes_no_more_steps() -> None:
    taken: list[int] = []
    work = asyncio.create_task(in_turns(steps(MANY, taken)))
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait([work])
    assert 0 < len(taken) <= 2 * A_TURN


async def test_no_turn_of_the_loop_sees_to_all_files(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as cabinet:
        folder = tmp_path / "blobs" / "sha256"
        for number in range(MANY):
            (folder / Digest.of(b"%d" % number).encoded).write_bytes(b"1")
        for known in (0, MANY):
            assert len(cabinet.index) == known
            async with turns() as counting:
                await cabinet.committed.refresh(at_once=True)
            # Those that are found are looked at in a thread, and compared on the loop.
            assert counting.count >= 2 * MANY // A_TURN
        for file in folder.iterdir():
            file.unlink()
        async with turns() as counting:
            await cabinet.committed.refresh(at_once=True)
        assert counting.count >= MANY // A_TURN
        assert len(cabinet.index) == 0


async def test_no_turn_of_the_loop_sees_to_all_records(tmp_path: Path) -> None:
    async def none(_: set[Digest]) -> set[Digest]:
        return set()

    async with Cabinet(tmp_path) as cabinet:
        await cabinet.rows.add({f"type {Digest.of(b'%d' % number)}": "x" for number in range(MANY)})
        async with turns() as counting:
            await cabinet.records.prune(lambda _: True, none)
        assert counting.count >= 2 * MANY // A_TURN
        assert len(await cabinet.rows.items()) == MANY
        async with turns() as counting:
            await cabinet.records.prune(lambda _: False, none)
        assert counting.count >= 3 * MANY // max(A_TURN, pruning._BATCH)
        assert await cabinet.rows.items() == {}
