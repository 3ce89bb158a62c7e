from __future__ import annotations

import asyncio
import errno
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from mirror.errors import StoreFailed
from mirror.store.threads import FileThreads, Threads


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    """A pool of one thread."""
    pool = Threads("test", 1)
    yield pool
    pool.close()


def ask(error: Exception) -> None:
    raise error


async def test_the_result_comes_back_from_another_thread(threads: Threads) -> None:
    assert await threads.run(threading.get_ident) != threading.get_ident()
    assert await threads.run(divmod, 7, 2) == (3, 1)
    assert await threads.run(int, "ff", base=16) == 255


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EACCES, "no"), OSError("bare")]
)
async def test_what_the_disk_refuses_is_our_error(threads: Threads, error: OSError) -> None:
    with pytest.raises(StoreFailed) as raised:
        await threads.run(ask, error)
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value)


async def test_the_name_of_a_file_is_not_told(threads: Threads) -> None:
    with pytest.raises(StoreFailed) as raised:
        await threads.run(ask, FileNotFoundError(errno.ENOENT, "No such file", "/secret/place"))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("bug"), StoreFailed("ours")])
async def test_other_errors_stay_what_they_are(threads: Threads, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        await threads.run(ask, error)
    assert raised.value is error


@pytest.mark.parametrize("cancellations", [1, 2, 3])
async def test_cancellation_waits_for_the_call(threads: Threads, cancellations: int) -> None:
    begun, gate = threading.Event(), threading.Event()
    ended: list[bool] = []

    def call() -> None:
        begun.set()
        gate.wait()
        ended.append(True)

    task = asyncio.create_task(threads.run(call))
    await asyncio.to_thread(begun.wait)
    for _ in range(cancellations):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    waited = not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waited
    assert ended


async def test_cancellation_swallows_the_error_of_the_call(threads: Threads) -> None:
    begun, gate = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        gate.wait()
        raise OSError

    task = asyncio.create_task(threads.run(call))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_leaves_no_circle_behind(threads: Threads) -> None:
    class Bug(Exception):
        pass

    seen: list[weakref.ref[Bug]] = []

    def made() -> Bug:
        error = Bug()
        seen.append(weakref.ref(error))
        return error

    def fail() -> None:
        raise made()

    gc.disable()
    try:
        # Not pytest.raises, which keeps what was raised.
        with suppress(Bug):
            await threads.run(fail)
        # The thread lets go of the call a moment after it is told of.
        await threads.run(int)
        assert seen[0]() is None
    finally:
        gc.enable()


async def test_a_closed_pool_takes_nothing() -> None:
    threads = Threads("closed", 1)
    threads.close()
    with pytest.raises(RuntimeError):
        await threads.run(int)


async def test_what_is_begun_is_waited_for_by_a_thread(threads: Threads) -> None:
    future = threads.begin(int, "7")
    assert await asyncio.to_thread(future.result) == 7
    refused = threads.begin(ask, OSError("no"))
    assert str(await asyncio.to_thread(refused.exception)) == "no"


async def test_writing_does_not_delay_reading() -> None:
    threads = FileThreads()
    gate = threading.Event()
    writing = [asyncio.create_task(threads.writing.run(gate.wait)) for _ in range(20)]
    assert await threads.reading.run(int, "5") == 5
    gate.set()
    await asyncio.gather(*writing)
    threads.close()
