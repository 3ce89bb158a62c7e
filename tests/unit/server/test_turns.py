from __future__ import annotations

import asyncio

from mirror.server.turns import LEAST, TOGETHER, Turns


async def shares(turns: Turns, count: int) -> list[int]:
    """Return what so many clients may have in the next turn of the loop."""
    await asyncio.sleep(0)
    return [turns.share() for _ in range(count)]


async def test_a_client_alone_has_all_of_it() -> None:
    turns = Turns()
    for _ in range(5):
        assert await shares(turns, 1) == [TOGETHER]


async def test_many_clients_share_alike_from_the_second_turn_on() -> None:
    turns = Turns()
    await shares(turns, 16)
    for _ in range(3):
        assert await shares(turns, 16) == [TOGETHER // 16] * 16


async def test_clients_are_sent_what_they_may_together_but_for_the_turn_in_which_they_come() -> None:
    turns = Turns()
    assert sum(await shares(turns, 8)) <= 3 * TOGETHER
    assert sum(await shares(turns, 8)) <= TOGETHER


async def test_however_many_there_are_each_has_the_least() -> None:
    turns = Turns()
    await shares(turns, 1000)
    assert await shares(turns, 1000) == [LEAST] * 1000


async def test_who_takes_nothing_does_not_count() -> None:
    turns = Turns()
    await shares(turns, 100)
    await shares(turns, 1)
    assert await shares(turns, 1) == [TOGETHER]
