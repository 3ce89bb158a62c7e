"""A turn of the loop ends before anything is read that was not there when it began."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import pytest
import uvloop

from mirror.server.turn import Turn

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


async def read_in_turns() -> list[str]:
    """Return what happened where two are there to be read at once, and each of them makes others send."""
    happened: list[str] = []
    turn = Turn(partial(happened.append, "over"))
    loop = asyncio.get_running_loop()
    all_read = asyncio.Event()
    with ExitStack() as stack:
        pairs = [[stack.enter_context(end) for end in socket.socketpair()] for _ in range(6)]

        def read(number: int) -> None:
            pairs[number][0].recv(1)
            turn.join()
            happened.append(f"read {number // 2}")
            if number < 4:
                pairs[number + 2][1].send(b"x")
            elif happened.count("read 2") == 2:
                all_read.set()

        for number, (reader, _) in enumerate(pairs):
            loop.add_reader(reader, read, number)
        await asyncio.sleep(0)
        for _, writer in pairs[:2]:
            writer.send(b"x")
        await all_read.wait()
        await asyncio.sleep(0)
        for reader, _ in pairs:
            loop.remove_reader(reader)
    return happened


@pytest.mark.parametrize("new_loop", LOOPS)
def test_it_is_over_before_what_came_meanwhile_is_read(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        happened = runner.run(read_in_turns())
    assert happened == ["read 0", "read 0", "over", "read 1", "read 1", "over", "read 2", "read 2", "over"]


async def test_where_nobody_takes_part_nothing_is_called() -> None:
    called: list[None] = []
    turn = Turn(lambda: called.append(None))
    await asyncio.sleep(0)
    assert called == []
    for times in (1, 2):
        turn.join()
        turn.join()
        await asyncio.sleep(0)
        assert len(called) == times
