from __future__ import annotations

import asyncio

import pytest

from mirror.errors import BlobUnknown, UpstreamTimeout
from mirror.proxy.deadline import ANSWER_WITHIN, answer_within
from tests.unit.virtual_time import in_virtual_time, settle


@in_virtual_time
async def test_silence_becomes_our_own_error() -> None:
    with pytest.raises(UpstreamTimeout):
        async with answer_within():
            await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)


def test_there_is_an_answer_before_clients_give_up() -> None:
    assert ANSWER_WITHIN <= 25


@in_virtual_time
async def test_what_ends_in_time_is_left_alone() -> None:
    async with answer_within(5):
        await asyncio.sleep(4)
    with pytest.raises(BlobUnknown):
        async with answer_within(5):
            raise BlobUnknown("no")


@in_virtual_time
async def test_a_cancellation_from_outside_stays_one() -> None:
    async def ask() -> None:
        async with answer_within(5):
            await asyncio.sleep(4)

    task = asyncio.create_task(ask())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
