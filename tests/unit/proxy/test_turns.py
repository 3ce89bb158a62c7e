from __future__ import annotations

import asyncio

import pytest

from mirror.errors import Busy
from mirror.proxy.fills.turns import MOST_AT_ONCE, MOST_WAITING, TURN_WITHIN, Turns
from tests.unit.virtual_time import in_virtual_time, settle


async def taken(turns: Turns, count: int, upstream: str = "docker.io") -> list[int]:
    """Take so many turns; returns who has them."""
    holders = list(range(count))
    for holder in holders:
        await turns.take(upstream, (upstream, holder))
    return holders


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_they_are_had_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns()
    await taken(turns, MOST_AT_ONCE)
    got: list[str] = []

    async def wait(name: str) -> None:
        await turns.take("docker.io", name)
        got.append(name)

    waiting = [asyncio.create_task(wait(name)) for name in ("first", "second", "third")]
    await settle()
    assert got == []
    turns.leave(("docker.io", 7))
    turns.leave(("docker.io", 3))
    await settle()
    assert got == ["first", "second"]
    turns.leave("first")
    await asyncio.gather(*waiting)
    assert got == ["first", "second", "third"]


@in_virtual_time
async def test_one_upstream_takes_nothing_from_another() -> None:
    turns = Turns()
    await taken(turns, MOST_AT_ONCE)
    await taken(turns, MOST_AT_ONCE, "ghcr.io")
    assert now() == 0


@in_virtual_time
async def test_a_turn_is_given_back_once() -> None:
    turns = Turns()
    await taken(turns, MOST_AT_ONCE)
    turns.leave(("docker.io", 0))
    turns.leave(("docker.io", 0))
    turns.leave("who never had one")
    await turns.take("docker.io", "one")
    with pytest.raises(Busy):
        await turns.take("docker.io", "another")


@in_virtual_time
async def test_nobody_waits_for_ever() -> None:
    turns = Turns()
    await taken(turns, MOST_AT_ONCE)
    with pytest.raises(Busy):
        await turns.take("docker.io", "late")
    assert now() == pytest.approx(TURN_WITHIN)
    turns.leave(("docker.io", 0))
    await turns.take("docker.io", "in time")


@in_virtual_time
async def test_only_so_many_wait() -> None:
    turns = Turns()
    await taken(turns, MOST_AT_ONCE)
    waiting = [asyncio.create_task(turns.take("docker.io", f"waits {n}")) for n in range(MOST_WAITING)]
    await settle()
    started = now()
    with pytest.raises(Busy):
        await turns.take("docker.io", "one too many")
    assert now() == started
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    turns.leave(("docker.io", 0))
    await turns.take("docker.io", "later")


@pytest.mark.parametrize("is_free", [False, True])
@in_virtual_time
async def test_who_is_cancelled_while_waiting_keeps_no_turn(is_free: bool) -> None:
    turns = Turns()
    await taken(turns, MOST_AT_ONCE)
    waiting = asyncio.create_task(turns.take("docker.io", "leaves"))
    await settle()
    if is_free:
        # It would be its turn at the very moment in which it leaves.
        turns.leave(("docker.io", 0))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not is_free:
        turns.leave(("docker.io", 0))
    await turns.take("docker.io", "stays")
    assert now() < TURN_WITHIN
