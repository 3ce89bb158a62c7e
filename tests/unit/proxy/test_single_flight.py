from __future__ import annotations

import asyncio

import pytest

from mirror.errors import ManifestUnknown, ShuttingDown
from mirror.proxy import chain
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.draining import drain
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle, steps


class Work:
    """Work that counts how often it is done, and ends when told to."""

    def __init__(self, result: str | Exception = "result") -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self._result = result

    async def __call__(self) -> str:
        self.begun += 1
        await self.gate.wait()
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def flights() -> tuple[SingleFlight[str], Tasks, Recorder]:
    """A single flight and what it is made of."""
    observer = Recorder()
    tasks = Tasks(observer)
    return SingleFlight(tasks), tasks, observer


@in_virtual_time
async def test_a_hundred_callers_share_one_look_up() -> None:
    single, _, _ = flights()
    work = Work()
    callers = [asyncio.create_task(single.run("key", work)) for _ in range(100)]
    await settle()
    work.gate.set()
    results = await asyncio.gather(*callers)
    assert work.begun == 1
    assert [result for result, _ in results] == ["result"] * 100
    assert sorted(joined for _, joined in results) == [False] + [True] * 99


@in_virtual_time
async def test_different_keys_do_not_meet() -> None:
    single, _, _ = flights()
    one, other = Work("one"), Work("other")
    slow = asyncio.create_task(single.run("a", one))
    await settle()
    other.gate.set()
    assert await single.run("b", other) == ("other", False)
    one.gate.set()
    assert await slow == ("one", False)


@in_virtual_time
async def test_a_landed_flight_is_gone() -> None:
    single, _, _ = flights()
    work = Work()
    work.gate.set()
    for _ in range(3):
        assert await single.run("key", work) == ("result", False)
        await settle()
    assert work.begun == 3


@in_virtual_time
async def test_the_others_get_the_result_when_the_leader_is_cancelled() -> None:
    single, _, _ = flights()
    work = Work()
    leader = asyncio.create_task(single.run("key", work))
    await settle()
    followers = [asyncio.create_task(single.run("key", work)) for _ in range(3)]
    await settle()
    leader.cancel()
    await settle()
    assert leader.cancelled()
    work.gate.set()
    assert await asyncio.gather(*followers) == [("result", True)] * 3
    assert work.begun == 1


@pytest.mark.parametrize("turns", range(12))
@in_virtual_time
async def test_a_caller_may_be_cancelled_at_any_await(turns: int) -> None:
    single, _, _ = flights()
    work = Work()
    victim = asyncio.create_task(single.run("key", work))
    await steps(turns)
    work.gate.set()
    other = asyncio.create_task(single.run("key", work))
    victim.cancel()
    assert (await other)[0] == "result"
    assert work.begun == 1


@in_virtual_time
async def test_the_flight_goes_on_when_everybody_is_cancelled() -> None:
    single, tasks, _ = flights()
    work = Work()
    callers = [asyncio.create_task(single.run("key", work)) for _ in range(3)]
    await settle()
    for caller in callers:
        caller.cancel()
    await settle()
    late = asyncio.create_task(single.run("key", work))
    await settle()
    work.gate.set()
    assert await late == ("result", True)
    assert work.begun == 1
    await drain(tasks, 1)


@in_virtual_time
async def test_every_waiter_gets_the_same_error() -> None:
    single, _, observer = flights()
    work = Work(ManifestUnknown("not there"))
    callers = [asyncio.create_task(single.run("key", work)) for _ in range(100)]
    await settle()
    work.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert len({id(result) for result in results}) == 1
    assert isinstance(results[0], ManifestUnknown)
    assert not observer.events


@in_virtual_time
async def test_the_next_one_tries_again_after_an_error() -> None:
    single, _, _ = flights()
    failing, fine = Work(ManifestUnknown("not there")), Work()
    failing.gate.set()
    fine.gate.set()
    with pytest.raises(ManifestUnknown):
        await single.run("key", failing)
    await settle()
    assert await single.run("key", fine) == ("result", False)


@in_virtual_time
async def test_a_crash_is_reported_once_and_raised_for_all() -> None:
    single, _, observer = flights()
    work = Work(ZeroDivisionError())
    callers = [asyncio.create_task(single.run("key", work)) for _ in range(5)]
    await settle()
    work.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 5
    assert len(observer.of(TaskCrashed)) == 1


@in_virtual_time
async def test_a_flight_that_shutdown_cancels_is_an_error_and_not_a_cancellation() -> None:
    single, tasks, _ = flights()
    callers = [asyncio.create_task(single.run("key", Work())) for _ in range(3)]
    await settle()
    await drain(tasks, 30)
    for result in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(result, ShuttingDown)


@in_virtual_time
async def test_a_flight_is_shared_by_those_who_came_the_same_way() -> None:
    single, _, _ = flights()
    works = [Work(), Work(), Work()]
    ways = [("mirror-1",), (), ("mirror-1",)]

    async def come(way: tuple[str, ...], work: Work) -> tuple[str, bool]:
        chain.enter(way)
        return await single.run("key", work)

    callers = [asyncio.create_task(come(way, work)) for way, work in zip(ways, works, strict=True)]
    await settle()
    assert single.begin("key", Work()) is None
    for work in works:
        work.gate.set()
    assert [joined for _, joined in await asyncio.gather(*callers)] == [False, False, True]
    await settle()
    assert not single._flights
