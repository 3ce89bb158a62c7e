from __future__ import annotations

import asyncio
import os

import pytest

from mirror.errors import (
    BlobUnknown,
    Denied,
    DigestMismatch,
    MirrorError,
    UpstreamFailed,
    UpstreamInvalid,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from mirror.oci.digest import Digest
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.events.fills import FillResumed
from mirror.proxy.fills.retry import FIRST_PAUSE, GIVE_UP_AFTER, LEAST_PACE, RESUMES
from mirror.proxy.fills.supply import SIZE_WITHIN, STALL_SECONDS, Supply
from mirror.proxy.interfaces.upstream import Rest, Validator
from tests.unit.proxy.doubles import HUB, Never, Piece, ScriptedTransfer, ScriptedUpstream, Step
from tests.unit.proxy.works import cut
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time

DATA = os.urandom(300_000)
DIGEST = Digest.of(DATA)
HALF = len(DATA) // 2


class Asking:
    """A supply, and a reader that takes what comes as a download does."""

    def __init__(self, *answers: Step[ScriptedTransfer]) -> None:
        self.upstream = ScriptedUpstream(blobs=list(answers))
        self.observer = Recorder()
        self.supply = Supply(self.upstream, HUB, DIGEST, self.observer)
        self.got = b""

    async def read(self) -> bytes:
        """Return all that came, each byte where it belongs."""
        await self.supply.open(len(self.got))
        while True:
            offset, data = await self.supply.read(len(self.got))
            if not data:
                return self.got
            assert offset <= len(self.got)
            known = len(self.got) - offset
            assert data[:known] == self.got[offset : offset + len(data)]
            self.got += data[known:]

    @property
    def starts(self) -> list[int]:
        """Where each request began."""
        return [rest.start for rest in self.upstream.rests]


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("trouble", [UpstreamUnreachable("reset"), UpstreamFailed("500"), UpstreamInvalid("framing")])
@in_virtual_time
async def test_a_cut_goes_on_where_it_stopped(trouble: MirrorError) -> None:
    asking = Asking(ScriptedTransfer([DATA[:HALF], trouble], len(DATA)), ScriptedTransfer.rest_of(DATA, HALF))
    assert await asking.read() == DATA
    assert asking.starts == [0, HALF]
    [resumed] = asking.observer.of(FillResumed)
    assert (resumed.size, resumed.error) == (HALF, trouble)
    assert now() == pytest.approx(FIRST_PAUSE)


@in_virtual_time
async def test_a_body_that_ends_early_is_cut() -> None:
    asking = Asking(ScriptedTransfer([DATA[:HALF]], len(DATA)), ScriptedTransfer.rest_of(DATA, HALF))
    assert await asking.read() == DATA
    assert asking.starts == [0, HALF]


@in_virtual_time
async def test_silence_is_a_cut() -> None:
    silent = ScriptedTransfer([DATA[:HALF], Never()], len(DATA))
    asking = Asking(silent, ScriptedTransfer.rest_of(DATA, HALF))
    assert await asking.read() == DATA
    assert now() == pytest.approx(STALL_SECONDS + FIRST_PAUSE)
    assert silent.closed


class Trickle(ScriptedTransfer):
    """A body that sends next to nothing, but never stops."""

    def __init__(self) -> None:
        super().__init__([], len(DATA))
        self.sent = 0

    async def read(self, most: int | None = None) -> bytes:
        await asyncio.sleep(1)
        self.sent += 1
        return DATA[self.sent - 1 : self.sent]


@in_virtual_time
async def test_a_trickle_is_a_cut() -> None:
    trickle = Trickle()
    asking = Asking(trickle, ScriptedTransfer.rest_of(DATA, 59))
    assert await asking.read() == DATA
    assert trickle.closed
    assert trickle.sent < LEAST_PACE
    assert isinstance(asking.observer.of(FillResumed)[0].error, UpstreamTimeout)


@in_virtual_time
async def test_each_try_begins_with_another_endpoint_and_names_the_object() -> None:
    tag = Validator('"a"', "https://registry.example")
    first = ScriptedTransfer([DATA[:HALF], UpstreamFailed("")], len(DATA), validator=tag)
    asking = Asking(first, UpstreamFailed("500"), ScriptedTransfer.rest_of(DATA, HALF))
    assert await asking.read() == DATA
    assert asking.upstream.rests == [Rest(), Rest(HALF, tag, 1), Rest(HALF, tag, 2, is_retry=True)]


@in_virtual_time
async def test_a_no_to_a_resume_may_be_one_endpoints_only() -> None:
    asking = Asking(cut(DATA, 0, HALF), Denied("expired"), BlobUnknown("404"), ScriptedTransfer.rest_of(DATA, HALF))
    assert await asking.read() == DATA


@pytest.mark.parametrize("error", [Denied("no"), UpstreamFailed("down")])
@in_virtual_time
async def test_the_last_error_tells_why_it_was_given_up(error: MirrorError) -> None:
    asking = Asking(cut(DATA, 0, HALF), *[error] * RESUMES)
    with pytest.raises(type(error)):
        await asking.read()
    assert asking.got == DATA[:HALF]
    assert asking.upstream.blobs == []
    assert len(asking.observer.of(FillResumed)) == RESUMES


@in_virtual_time
async def test_an_upstream_that_always_falls_silent_is_given_up_in_time() -> None:
    silent: list[Piece] = [Never()]
    asking = Asking(*(ScriptedTransfer(silent, len(DATA), 0) for _ in range(RESUMES + 1)))
    with pytest.raises(UpstreamTimeout):
        await asking.read()
    assert now() <= GIVE_UP_AFTER + STALL_SECONDS


@in_virtual_time
async def test_an_upstream_that_wants_to_be_left_alone_for_a_while_is() -> None:
    throttled = UpstreamThrottled("429", 20)
    asking = Asking(cut(DATA, 0, HALF), throttled, throttled, ScriptedTransfer.rest_of(DATA, HALF))
    assert await asking.read() == DATA
    assert now() == pytest.approx(FIRST_PAUSE + 40)


@pytest.mark.parametrize("seconds", [3600, None])
@in_virtual_time
async def test_an_upstream_that_wants_to_be_left_alone_for_long_is_given_up(seconds: int | None) -> None:
    asking = Asking(cut(DATA, 0, HALF), *[UpstreamThrottled("429", seconds)] * RESUMES)
    with pytest.raises(UpstreamThrottled):
        await asking.read()
    assert now() < GIVE_UP_AFTER
    assert len(asking.starts) == 1 + (RESUMES if seconds is None else 1)


@in_virtual_time
async def test_time_that_the_reader_takes_is_not_upstreams() -> None:
    # A slow disk, or a slow client of a blob that cannot be kept; meanwhile upstream lost patience.
    asking = Asking(cut(DATA, 0, HALF), ScriptedTransfer.rest_of(DATA, HALF))
    await asking.supply.open(0)
    assert await asking.supply.read(0) == (0, DATA[:HALF])
    await asyncio.sleep(2 * GIVE_UP_AFTER)
    offset, data = await asking.supply.read(HALF)
    assert offset == HALF
    assert data
    assert DATA[HALF:].startswith(data)


@in_virtual_time
async def test_progress_earns_resumes() -> None:
    # More cuts than the budget has, each after bytes enough for another.
    step, size = 8 * 1024 * 1024, 10 * 8 * 1024 * 1024
    cuts = [ScriptedTransfer([bytes(step), UpstreamFailed("")], size, at) for at in range(0, size, step)]
    asking = Asking(*cuts)
    await asking.supply.open(0)
    have = 0
    while have < size:
        _, data = await asking.supply.read(have)
        have += len(data)
    assert await asking.supply.read(have) == (size, b"")
    assert len(asking.starts) == 10


@in_virtual_time
async def test_a_cut_after_the_last_byte_is_the_end() -> None:
    asking = Asking(cut(DATA, 0, len(DATA)))
    assert await asking.read() == DATA
    assert asking.starts == [0]


@in_virtual_time
async def test_an_object_sent_anew_says_where_it_begins() -> None:
    anew = ScriptedTransfer.whole(DATA)
    asking = Asking(cut(DATA, 0, HALF), anew)
    assert await asking.read() == DATA
    assert asking.starts == [0, HALF]


@in_virtual_time
async def test_what_is_sent_anew_earns_nothing() -> None:
    # Upstream repeats the first half for ever: that is no progress, however many bytes it is.
    asking = Asking(*(cut(DATA, 0, HALF) for _ in range(RESUMES + 1)))
    with pytest.raises(UpstreamUnreachable):
        await asking.read()
    assert asking.got == DATA[:HALF]


@in_virtual_time
async def test_another_length_is_another_object() -> None:
    other = ScriptedTransfer([DATA], len(DATA) + 1, HALF)
    asking = Asking(cut(DATA, 0, HALF), other, ScriptedTransfer.rest_of(DATA, HALF))
    assert await asking.read() == DATA
    assert other.closed


@pytest.mark.parametrize("declared", [HALF, len(DATA) - 1, 0])
@in_virtual_time
async def test_more_bytes_than_declared_are_wrong_bytes(declared: int) -> None:
    asking = Asking(ScriptedTransfer([DATA[:HALF], DATA[HALF:]], declared))
    with pytest.raises(DigestMismatch):
        await asking.read()
    assert len(asking.got) <= declared


@in_virtual_time
async def test_a_missing_length_is_asked_for() -> None:
    asking = Asking(ScriptedTransfer([DATA], None))
    asking.upstream.head_blobs.append(len(DATA))
    assert await asking.read() == DATA
    assert asking.supply.total == len(DATA)


@pytest.mark.parametrize("answer", [None, Never(), BlobUnknown("no HEAD here"), UpstreamFailed("")])
@in_virtual_time
async def test_a_length_that_nobody_tells_stays_unknown(answer: Never | MirrorError | None) -> None:
    asking = Asking(ScriptedTransfer([DATA], None))
    asking.upstream.head_blobs.append(answer)
    assert await asking.read() == DATA
    assert asking.supply.total is None
    assert now() <= SIZE_WITHIN


@in_virtual_time
async def test_a_cut_of_unknown_length_goes_on_and_learns_it() -> None:
    asking = Asking(ScriptedTransfer([DATA[:HALF], UpstreamFailed("")], None), ScriptedTransfer.rest_of(DATA, HALF))
    asking.upstream.head_blobs.append(None)
    assert await asking.read() == DATA
    assert asking.supply.total == len(DATA)


@in_virtual_time
async def test_the_first_answer_has_its_deadline() -> None:
    asking = Asking(Never())
    with pytest.raises(UpstreamTimeout):
        await asking.read()
    assert now() == pytest.approx(ANSWER_WITHIN)


@in_virtual_time
async def test_the_first_no_is_final() -> None:
    asking = Asking(Denied("private"))
    with pytest.raises(Denied):
        await asking.read()
