from __future__ import annotations

import asyncio

import pytest

from mirror.errors import BlobUnknown, ShuttingDown, StoreFailed
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.tasks import Tasks, outcome_of
from tests.unit.proxy.draining import drain
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle


class Stubborn:
    """Work that takes its time to end even when cancelled."""

    def __init__(self) -> None:
        self.ended = False

    async def __call__(self) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(3)
            self.ended = True


@in_virtual_time
async def test_a_task_gives_its_result() -> None:
    task = Tasks(Recorder()).spawn(asyncio.sleep(5, "result"), "work")
    assert task.get_name() == "work"
    assert await outcome_of(task) == "result"
    assert await outcome_of(task) == "result"


@in_virtual_time
async def test_a_foreseen_error_is_for_whoever_waits() -> None:
    observer = Recorder()
    error = BlobUnknown("no")

    async def work() -> None:
        raise error

    task = Tasks(observer).spawn(work(), "work")
    for _ in range(2):
        with pytest.raises(BlobUnknown) as raised:
            await outcome_of(task)
        assert raised.value is error
    assert not observer.events


@in_virtual_time
async def test_a_crash_is_reported_even_if_nobody_waits() -> None:
    observer = Recorder()

    async def work() -> None:
        raise ZeroDivisionError

    Tasks(observer).spawn(work(), "work")
    await settle()
    [crash] = observer.of(TaskCrashed)
    assert crash.task == "work"
    assert isinstance(crash.error, ZeroDivisionError)


@in_virtual_time
async def test_a_cancelled_task_is_no_crash() -> None:
    observer = Recorder()
    task = Tasks(observer).spawn(asyncio.sleep(1000), "work")
    task.cancel()
    await settle()
    assert not observer.events


@in_virtual_time
async def test_whoever_is_cancelled_leaves_the_task_running() -> None:
    task = Tasks(Recorder()).spawn(asyncio.sleep(5, "result"), "work")
    impatient, patient = (asyncio.create_task(outcome_of(task)) for _ in range(2))
    await settle()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert await patient == "result"


@in_virtual_time
async def test_whoever_waits_for_a_cancelled_task_is_told_that_the_mirror_stops() -> None:
    task = Tasks(Recorder()).spawn(asyncio.sleep(1000), "work")
    waiting = asyncio.create_task(outcome_of(task))
    await settle()
    task.cancel()
    with pytest.raises(ShuttingDown):
        await waiting


@in_virtual_time
async def test_an_error_after_the_last_waiter_left_is_not_lost_and_not_loud() -> None:
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        raise StoreFailed("late")

    task = Tasks(Recorder()).spawn(work(), "work")
    waiting = asyncio.create_task(outcome_of(task))
    await settle()
    waiting.cancel()
    await settle()
    gate.set()
    await settle()
    assert isinstance(task.exception(), StoreFailed)


@in_virtual_time
async def test_draining_nothing_takes_no_time() -> None:
    await drain(Tasks(Recorder()), 30)
    assert asyncio.get_running_loop().time() < 1


@in_virtual_time
async def test_draining_lets_tasks_finish() -> None:
    tasks = Tasks(Recorder())
    short, longer = tasks.spawn(asyncio.sleep(1, "short"), "a"), tasks.spawn(asyncio.sleep(20, "longer"), "b")
    await drain(tasks, 30)
    assert (short.result(), longer.result()) == ("short", "longer")
    assert asyncio.get_running_loop().time() == pytest.approx(20)


@in_virtual_time
async def test_draining_cancels_what_does_not_finish_and_sees_it_off() -> None:
    tasks = Tasks(Recorder())
    work = Stubborn()
    task = tasks.spawn(work(), "work")
    await drain(tasks, 30)
    assert task.cancelled()
    assert work.ended
    assert asyncio.get_running_loop().time() == pytest.approx(33)


@in_virtual_time
async def test_draining_waits_for_what_a_task_started_last() -> None:
    tasks = Tasks(Recorder())
    started: list[asyncio.Task[str]] = []

    async def work() -> None:
        await asyncio.sleep(5)
        started.append(tasks.spawn(asyncio.sleep(5, "second"), "second"))

    tasks.spawn(work(), "first")
    await drain(tasks, 30)
    assert not started[0].cancelled()
    assert asyncio.get_running_loop().time() == pytest.approx(10)


@in_virtual_time
async def test_waiting_for_the_end_includes_what_tasks_start_meanwhile_and_cancels_nothing() -> None:
    tasks = Tasks(Recorder())
    started: list[asyncio.Task[str]] = []

    async def work() -> None:
        await asyncio.sleep(5)
        started.append(tasks.spawn(asyncio.sleep(500, "second"), "second"))

    await tasks.finished()
    assert asyncio.get_running_loop().time() < 1
    tasks.spawn(work(), "first")
    await tasks.finished()
    assert started[0].result() == "second"
    assert asyncio.get_running_loop().time() == pytest.approx(505)


@in_virtual_time
async def test_whoever_stops_waiting_for_the_end_leaves_the_tasks_running() -> None:
    tasks = Tasks(Recorder())
    task = tasks.spawn(asyncio.sleep(5, "result"), "work")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await tasks.finished()
    assert await outcome_of(task) == "result"


@in_virtual_time
async def test_cancelling_sees_off_every_task() -> None:
    tasks = Tasks(Recorder())
    work = Stubborn()
    stubborn, idle = tasks.spawn(work(), "stubborn"), tasks.spawn(asyncio.sleep(1000), "idle")
    await settle()
    await tasks.cancel()
    assert stubborn.cancelled()
    assert idle.cancelled()
    assert work.ended
    assert asyncio.get_running_loop().time() == pytest.approx(3)
    await tasks.cancel()


@in_virtual_time
async def test_cancelling_cancels_what_a_task_starts_as_its_last_act() -> None:
    tasks = Tasks(Recorder())
    started: list[asyncio.Task[None]] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            started.append(tasks.spawn(asyncio.sleep(1000), "last act"))

    tasks.spawn(work(), "work")
    await settle()
    await tasks.cancel()
    assert started[0].cancelled()
    assert asyncio.get_running_loop().time() < 1


@in_virtual_time
async def test_draining_reports_a_crash() -> None:
    observer = Recorder()
    tasks = Tasks(observer)

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise ZeroDivisionError

    tasks.spawn(work(), "work")
    await drain(tasks, 1)
    assert len(observer.of(TaskCrashed)) == 1
