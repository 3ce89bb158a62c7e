from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.events.scrubbing import ScrubFinished
from mirror.proxy.events.troubles import StoreTroubled, TaskCrashed
from mirror.proxy.scrubbing.patrol import LOOK_SECONDS, Patrol
from mirror.proxy.scrubbing.scrub import Scrub
from mirror.proxy.tasks import cancelled
from tests.unit.proxy.scrubbing import MemoryInventory, ScriptedFetch, files
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time

DAY = 86_400.0
NOW = 1_700_000_000.0
FILES = files(4)
ALL = [file.digest for file in FILES]


class MemoryDiary:
    """What is noted (see patrol.Diary); processes share it as they do a folder."""

    def __init__(self, finished_at: float = 0.0, after: Digest | None = None) -> None:
        self.noted = finished_at, after
        self.history: list[tuple[float, Digest | None]] = []
        self.is_taken = False
        self.is_full = False

    async def take(self) -> bool:
        if self.is_taken:
            return False
        self.is_taken = True
        return True

    async def give_back(self) -> None:
        self.is_taken = False

    async def read(self) -> tuple[float, Digest | None]:
        return self.noted

    async def write(self, finished_at: float, after: Digest | None) -> None:
        if self.is_full:
            raise StoreFailed("the disk refused: No space left on device")
        self.noted = finished_at, after
        self.history.append(self.noted)


class Watch:
    """A patrol in virtual time, which begins at NOW."""

    def __init__(self, diary: MemoryDiary, seconds: float = 0.0) -> None:
        self.inventory = MemoryInventory(FILES, seconds=seconds)
        self.observer = Recorder()
        self.diary = diary
        self.patrol = Patrol(
            Scrub(self.inventory, ScriptedFetch(), self.observer),
            diary,
            timedelta(days=1),
            1000,
            lambda: NOW + asyncio.get_running_loop().time(),
            self.observer,
        )

    @property
    def examined(self) -> list[Digest]:
        """What was examined since this was last asked."""
        examined, self.inventory.examined = self.inventory.examined, []
        return examined

    @property
    def finished(self) -> list[float]:
        """When scrubs ended, in seconds from NOW, each once."""
        return list(dict.fromkeys(event.at - NOW for event in self.observer.of(ScrubFinished)))

    async def go_on(self, seconds: float) -> None:
        """Let it run for so long, then stop it."""
        task = asyncio.create_task(self.patrol.run())
        await asyncio.sleep(seconds)
        await cancelled(task)
        assert task.cancelled()


@in_virtual_time
async def test_what_never_was_scrubbed_is_due_at_once() -> None:
    watch = Watch(MemoryDiary())
    await watch.go_on(1)
    assert watch.examined == ALL
    assert watch.diary.noted == (NOW, None)
    assert watch.finished == [0]


@in_virtual_time
async def test_it_is_due_every_so_often() -> None:
    watch = Watch(MemoryDiary(NOW))
    await watch.go_on(3 * DAY + 3 * LOOK_SECONDS)
    assert watch.examined == ALL * 3
    assert [round(at / DAY, 2) for at in watch.finished] == [0, 1, 2, 3]


@in_virtual_time
async def test_what_is_not_due_is_only_told_of() -> None:
    watch = Watch(MemoryDiary(NOW - DAY / 2))
    await watch.go_on(DAY / 2 - 1)
    assert watch.examined == []
    assert watch.finished == [-DAY / 2]
    await watch.go_on(LOOK_SECONDS + 1)
    assert watch.examined == ALL


@in_virtual_time
async def test_a_note_from_the_future_is_not_waited_for() -> None:
    watch = Watch(MemoryDiary(NOW + 100 * DAY))
    await watch.go_on(10 * LOOK_SECONDS)
    assert watch.examined == ALL
    assert watch.diary.noted == (NOW, None)


@in_virtual_time
async def test_it_reads_no_faster_than_it_may() -> None:
    watch = Watch(MemoryDiary())
    await watch.go_on(1)
    assert watch.inventory.how == [(False, 1000)] * len(ALL)


@in_virtual_time
async def test_an_interrupted_scrub_is_gone_on_with_by_the_next_process() -> None:
    diary = MemoryDiary(NOW - 7 * DAY)
    first, second = Watch(diary, 40), Watch(diary, 40)
    await first.go_on(130)
    assert first.examined == ALL[:3]
    assert diary.history == [(NOW - 7 * DAY, ALL[1])], "the way is noted every minute"
    assert not diary.is_taken
    await second.go_on(100)
    assert second.examined == ALL[2:]
    assert diary.history[-1] == (NOW + 130 + 80, None)


@in_virtual_time
async def test_an_interrupted_scrub_is_gone_on_with_though_none_is_due() -> None:
    watch = Watch(MemoryDiary(NOW, ALL[2]))
    await watch.go_on(1)
    assert watch.examined == ALL[3:]


@in_virtual_time
async def test_one_process_scrubs_at_a_time() -> None:
    diary = MemoryDiary()
    first, second = Watch(diary, 100), Watch(diary, 100)
    await asyncio.gather(first.go_on(DAY / 2), second.go_on(DAY / 2))
    assert first.examined + second.examined == ALL
    assert second.finished == first.finished == [400]


@in_virtual_time
async def test_who_waited_takes_over_from_who_stopped() -> None:
    diary = MemoryDiary()
    first, second = Watch(diary, 40), Watch(diary, 40)
    await asyncio.gather(first.go_on(130), second.go_on(DAY / 2))
    assert first.examined == ALL[:3]
    assert second.examined == ALL[2:]


def once(error: Exception) -> Callable[[], None]:
    errors = [error]

    def fail() -> None:
        if errors:
            raise errors.pop()

    return fail


@in_virtual_time
async def test_a_disk_that_cannot_be_read_is_told_of_and_tried_again() -> None:
    watch = Watch(MemoryDiary())
    watch.inventory.on_listing = once(StoreFailed("the disk refused: Input/output error"))
    await watch.go_on(LOOK_SECONDS - 1)
    assert watch.examined == []
    assert [event.doing for event in watch.observer.of(StoreTroubled)] == ["scrub"]
    await watch.go_on(1)
    assert watch.examined == ALL


@in_virtual_time
async def test_a_bug_is_not_the_end_of_all_scrubs() -> None:
    watch = Watch(MemoryDiary())
    watch.inventory.on_listing = once(ZeroDivisionError())
    await watch.go_on(LOOK_SECONDS + 1)
    assert [type(event.error) for event in watch.observer.of(TaskCrashed)] == [ZeroDivisionError]
    assert watch.examined == ALL
    assert not watch.diary.is_taken


@in_virtual_time
async def test_a_full_disk_does_not_make_it_read_everything_again_and_again() -> None:
    watch = Watch(MemoryDiary(), 40)
    watch.diary.is_full = True
    await watch.go_on(DAY / 2)
    assert watch.examined == ALL
    assert watch.observer.of(StoreTroubled)
    assert watch.diary.history == []
    watch.diary.is_full = False
    await watch.go_on(DAY)
    assert watch.examined == ALL
    assert watch.diary.history[-1][1] is None


@in_virtual_time
async def test_a_stop_is_not_waited_for() -> None:
    watch = Watch(MemoryDiary(), 10_000)
    await watch.go_on(5)
    assert asyncio.get_running_loop().time() < 6
    assert not watch.diary.is_taken
