from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.digest import Digest
from mirror.proxy.access import Access
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.failures import Failures
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import HUB, OTHER, MemoryCache, MemoryRecords, SettableClock
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle

DIGEST = Digest.of(b"content")


class Question:
    """What is asked of upstream; counts how often."""

    def __init__(self, answer: Exception | None = None, seconds: float = 0) -> None:
        self.asked = 0
        self._answer = answer
        self._seconds = seconds

    async def __call__(self) -> None:
        self.asked += 1
        await asyncio.sleep(self._seconds)
        if self._answer is not None:
            raise self._answer


class Door:
    """Access with records in memory."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.records = MemoryRecords()
        self.failures = Failures(MemoryCache(self.clock), timedelta(seconds=30))
        self.access = Access(self.records, self.failures, Tasks(Recorder()))


@in_virtual_time
async def test_a_grant_asks_nobody() -> None:
    door, question = Door(), Question()
    door.records.grants.add((HUB, DIGEST))
    assert await door.access.confirm(Kind.BLOB, HUB, DIGEST, question) is False
    assert question.asked == 0


@in_virtual_time
async def test_a_yes_is_a_grant_for_this_repository_alone() -> None:
    door, question = Door(), Question()
    assert await door.access.confirm(Kind.BLOB, HUB, DIGEST, question) is True
    assert door.records.grants == {(HUB, DIGEST)}
    assert await door.access.confirm(Kind.BLOB, HUB, DIGEST, question) is False
    assert await door.access.confirm(Kind.BLOB, OTHER, DIGEST, question) is True
    assert question.asked == 2


@pytest.mark.parametrize(
    "error",
    [errors.BlobUnknown("no"), errors.Denied("no"), errors.UpstreamFailed("broken"), errors.UpstreamTimeout("silent")],
)
@in_virtual_time
async def test_anything_else_is_no_grant(error: MirrorError) -> None:
    door, question = Door(), Question(error)
    with pytest.raises(type(error)) as raised:
        await door.access.confirm(Kind.BLOB, HUB, DIGEST, question)
    assert not raised.value.remembered
    with pytest.raises(type(error)) as raised:
        await door.access.confirm(Kind.BLOB, HUB, DIGEST, question)
    assert raised.value.remembered
    assert question.asked == 1
    assert not door.records.grants


@in_virtual_time
async def test_many_ask_once() -> None:
    door, question = Door(), Question(seconds=1)
    assert (
        await asyncio.gather(*(door.access.confirm(Kind.BLOB, HUB, DIGEST, question) for _ in range(20))) == [True] * 20
    )
    assert question.asked == 1


@in_virtual_time
async def test_silence_ends_in_time() -> None:
    door, question = Door(), Question(seconds=3600)
    with pytest.raises(errors.UpstreamTimeout):
        await door.access.confirm(Kind.BLOB, HUB, DIGEST, question)
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    assert not door.records.grants


@in_virtual_time
async def test_silence_is_remembered_like_other_failures() -> None:
    door, question = Door(), Question(seconds=3600)
    for _ in range(2):
        with pytest.raises(errors.UpstreamTimeout):
            await door.access.confirm(Kind.BLOB, HUB, DIGEST, question)
    assert question.asked == 1


@in_virtual_time
async def test_whoever_caused_the_question_may_leave() -> None:
    door, question = Door(), Question(seconds=1)
    leader = asyncio.create_task(door.access.confirm(Kind.BLOB, HUB, DIGEST, question))
    await settle()
    leader.cancel()
    assert await door.access.confirm(Kind.BLOB, HUB, DIGEST, question) is True
    assert question.asked == 1


@in_virtual_time
async def test_a_no_to_a_blob_is_not_one_to_a_manifest() -> None:
    door, no, yes = Door(), Question(errors.BlobUnknown("no"), seconds=1), Question()
    refused = asyncio.create_task(door.access.confirm(Kind.BLOB, HUB, DIGEST, no))
    await settle()
    assert await door.access.confirm(Kind.MANIFEST, HUB, DIGEST, yes) is True
    with pytest.raises(errors.BlobUnknown):
        await refused
    assert (no.asked, yes.asked) == (1, 1)
