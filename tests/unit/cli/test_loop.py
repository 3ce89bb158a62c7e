from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator

import pytest
import uvloop

from mirror.cli.loop import on_loop


def test_work_runs_on_libuvs_loop_and_returns_what_it_returns() -> None:
    async def work() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert on_loop(work()) == uvloop.Loop.__module__


def test_what_work_left_is_ended() -> None:
    ended: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("task")

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            ended.append("generator")

    async def work() -> None:
        lingering.append(asyncio.create_task(linger()))
        async for number in kept:
            if number:
                break
        await asyncio.to_thread(lambda: None)
        raise LookupError

    lingering: list[asyncio.Task[None]] = []
    kept = numbers()
    threads = threading.active_count()
    with pytest.raises(LookupError):
        on_loop(work())
    assert sorted(ended) == ["generator", "task"]
    assert threading.active_count() == threads


def test_an_interrupt_cancels_work_which_ends_in_order() -> None:
    ended: list[bool] = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        on_loop(work())
    assert ended == [True]


def test_work_has_wishes_of_its_own_for_an_interrupt() -> None:
    async def work() -> str:
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGINT, asked.set)
        loop.call_soon(os.kill, os.getpid(), signal.SIGINT)
        await asked.wait()
        return "asked"

    assert on_loop(work()) == "asked"
