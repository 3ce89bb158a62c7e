from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.digest import Digest
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.failures import UNAVAILABLE_SECONDS, Failures
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import (
    HUB,
    OTHER,
    Held,
    MemoryCache,
    MemoryRecords,
    Never,
    ScriptedUpstream,
    SettableClock,
    Step,
)
from tests.unit.proxy.draining import drain
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle, steps

DIGEST = Digest.of(b"content")
REFUSED = [errors.BlobUnknown("404"), errors.Denied("403")]
UNAVAILABLE = [
    errors.UpstreamUnreachable("no connection"),
    errors.UpstreamTimeout("silent"),
    errors.UpstreamThrottled("429", 60),
    errors.UpstreamFailed("502"),
    errors.UpstreamInvalid("HTML"),
]


class Scale:
    """Blob sizes with everything around them in memory."""

    def __init__(self, *answers: Step[int | None]) -> None:
        self.upstream = ScriptedUpstream(head_blobs=list(answers))
        self.records = MemoryRecords()
        self.clock = SettableClock()
        self.failures = Failures(MemoryCache(self.clock), timedelta(seconds=30))
        self.tasks = Tasks(Recorder())
        self.sizes = BlobSize({"docker.io": self.upstream}, self.records, self.failures, self.tasks)


@pytest.mark.parametrize("size", [0, 5, 2**40, None])
@in_virtual_time
async def test_upstream_tells_and_a_yes_is_a_grant(size: int | None) -> None:
    scale = Scale(size)
    assert await scale.sizes.ask(HUB, DIGEST) == size
    assert scale.records.grants == {(HUB, DIGEST)}
    assert scale.upstream.asked == [f"HEAD library/alpine blob {DIGEST}"]


@in_virtual_time
async def test_a_hundred_clients_ask_upstream_once() -> None:
    gate = asyncio.Event()
    scale = Scale(Held(gate, 5))
    asking = [asyncio.create_task(scale.sizes.ask(HUB, DIGEST)) for _ in range(100)]
    await settle()
    gate.set()
    assert await asyncio.gather(*asking) == [5] * 100
    assert len(scale.upstream.asked) == 1


@in_virtual_time
async def test_each_repository_and_each_blob_is_asked_for_on_its_own() -> None:
    scale = Scale(errors.Denied("private"), 5, 6)
    with pytest.raises(errors.Denied):
        await scale.sizes.ask(HUB, DIGEST)
    assert await scale.sizes.ask(OTHER, DIGEST) == 5
    assert await scale.sizes.ask(HUB, Digest.of(b"other")) == 6
    assert (HUB, DIGEST) not in scale.records.grants


@pytest.mark.parametrize(
    ("error", "seconds"),
    [*((error, 30) for error in REFUSED), *((error, UNAVAILABLE_SECONDS) for error in UNAVAILABLE)],
)
@in_virtual_time
async def test_a_failure_is_remembered_for_a_while_and_grants_nothing(error: MirrorError, seconds: float) -> None:
    scale = Scale(error, 5)
    for remembered in (False, True, True):
        with pytest.raises(type(error)) as raised:
            await scale.sizes.ask(HUB, DIGEST)
        assert raised.value.remembered is remembered
    assert not scale.records.grants
    assert len(scale.upstream.asked) == 1
    scale.clock.now += seconds
    assert await scale.sizes.ask(HUB, DIGEST) == 5


@in_virtual_time
async def test_what_a_get_was_refused_is_refused_to_a_head() -> None:
    scale = Scale()
    await scale.failures.remember(Kind.BLOB, HUB, DIGEST, errors.BlobUnknown("404"))
    with pytest.raises(errors.BlobUnknown):
        await scale.sizes.ask(HUB, DIGEST)
    assert not scale.upstream.asked


@in_virtual_time
async def test_every_waiter_gets_the_same_error() -> None:
    gate = asyncio.Event()
    error = errors.Denied("private")
    scale = Scale(Held(gate, error))
    asking = [asyncio.create_task(scale.sizes.ask(HUB, DIGEST)) for _ in range(10)]
    await settle()
    gate.set()
    assert await asyncio.gather(*asking, return_exceptions=True) == [error] * 10


@in_virtual_time
async def test_silence_ends_in_time_and_is_remembered() -> None:
    scale = Scale(Never())
    for remembered in (False, True):
        with pytest.raises(errors.UpstreamTimeout) as raised:
            await scale.sizes.ask(HUB, DIGEST)
        assert raised.value.remembered is remembered
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)


@pytest.mark.parametrize("turns", range(12))
@in_virtual_time
async def test_a_client_may_leave_at_any_await(turns: int) -> None:
    scale = Scale(5, 5)
    victim = asyncio.create_task(scale.sizes.ask(HUB, DIGEST))
    await steps(turns)
    other = asyncio.create_task(scale.sizes.ask(HUB, DIGEST))
    victim.cancel()
    assert await other == 5
    assert scale.records.grants == {(HUB, DIGEST)}
    await drain(scale.tasks, 0)
