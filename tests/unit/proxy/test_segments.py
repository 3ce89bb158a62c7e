from __future__ import annotations

import asyncio
import math
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BlobUnknown, MirrorError, UpstreamThrottled, UpstreamUnreachable
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.events.fills import InParts, Parts
from mirror.proxy.fills.segments import lanes as lanes_module
from mirror.proxy.fills.segments import plan as plan_module
from mirror.proxy.fills.segments import segment as segment_module
from mirror.proxy.fills.segments import segments as segments_module
from mirror.proxy.fills.segments import width as width_module
from mirror.proxy.fills.segments.lanes import Lanes
from mirror.proxy.fills.segments.plan import MOST, Part, Plan
from mirror.proxy.fills.segments.segment import Segment
from mirror.proxy.fills.segments.segments import Segments
from mirror.proxy.fills.segments.width import (
    FAST,
    FIRST_LOOK,
    FIRST_SECONDS,
    GRACE_SECONDS,
    LOOK_SECONDS,
    SOON,
    STEPS,
    WORTH,
    Seen,
    Width,
)
from mirror.proxy.fills.supply import STALL_SECONDS, Supply
from mirror.proxy.fills.turns import Turns
from mirror.proxy.interfaces.upstream import WHOLE, Rest, Validator
from tests.unit.proxy.doubles import HUB
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, run

KIB = 1024
DATA = os.urandom(400 * KIB)
DIGEST = Digest.of(DATA)
RATE = 100 * KIB
"""Bytes a second of one connection."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All lengths are a hundredth or so of what they are."""
    make_small(monkeypatch)


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "LARGE", 100 * KIB)
    monkeypatch.setattr(segments_module, "FIRST", 40 * KIB)
    monkeypatch.setattr(plan_module, "LEAST", 8 * KIB)
    monkeypatch.setattr(plan_module, "MOST", 32 * KIB)
    monkeypatch.setattr(width_module, "FIRST_LOOK", 16 * KIB)


# What is asked for next. ---------------------------------------------------------------------------------


@given(st.integers(0, 2**33), st.integers(0, 2**31), st.lists(st.integers(1, 8), min_size=1))
def test_each_byte_is_given_out_once_and_in_order(start: int, size: int, widths: list[int]) -> None:
    plan, offset = Plan(start, start + size), start
    for number in range(10_000):
        if not plan.left:
            break
        width = widths[number % len(widths)]
        part = plan.next(plan.share(width))
        assert part.start == offset
        assert 0 < part.size <= plan.left
        assert width == 1 or part.size <= MOST
        plan.give_out(part)
        offset = part.stop
    assert offset == start + size or plan.left > 0


def test_the_last_parts_are_shared_by_all() -> None:
    least, most = plan_module.LEAST, plan_module.MOST
    assert Plan(0, 3 * least).share(4) == least
    assert Plan(0, 6 * least).share(4) == 2 * least
    assert Plan(0, 100 * most).share(4) == most
    assert Plan(5, 100).next(Plan(5, 100).share(1)) == Part(5, 100)


# By how many. --------------------------------------------------------------------------------------------


class Line:
    """Looks again and again at what comes at `rate`, in bytes a second, and how much of the time is spent how."""

    def __init__(self) -> None:
        self.width = Width()
        self.now = self.waited = self.busy = 0.0
        self.received = 0.0

    def goes_on(
        self,
        seconds: float,
        rate: float,
        waiting: float = 0.95,
        busy: float = 0.1,
        left: int = 2**40,
        known: float | None = None,
    ) -> int:
        end = self.now + seconds
        while self.now < end:
            self.width.look(Seen(self.now, int(self.received), left, self.waited, self.busy), known)
            self.now += 0.01
            self.received += rate * 0.01
            self.waited += waiting * 0.01
            self.busy += busy * 0.01
        return self.width.value


SLOW = FAST / 4


def test_others_are_added_while_they_pay() -> None:
    line = Line()
    assert line.goes_on(0.1, SLOW) == STEPS[1]
    assert line.width.rate == pytest.approx(SLOW, rel=0.01)
    assert line.goes_on(GRACE_SECONDS + LOOK_SECONDS + 0.1, 3 * SLOW) == STEPS[2]
    assert line.goes_on(GRACE_SECONDS + LOOK_SECONDS + 0.1, 5 * SLOW) == STEPS[2]
    assert line.width.is_settled
    assert line.width.rate == pytest.approx(SLOW, rel=0.01)


def test_those_that_bring_nothing_are_given_back() -> None:
    line = Line()
    assert line.goes_on(0.1, SLOW) == STEPS[1]
    assert line.goes_on(2, 1.1 * SLOW) == STEPS[0]
    assert line.width.is_settled
    assert line.width.rate == math.inf
    line = Line()
    line.goes_on(0.1, SLOW)
    line.goes_on(GRACE_SECONDS + LOOK_SECONDS + 0.1, 3 * SLOW)
    assert line.goes_on(2, 3 * SLOW) == STEPS[1]


@pytest.mark.parametrize(
    ("rate", "waiting", "busy"),
    [(2 * FAST, 0.95, 0.1), (SLOW, 0.3, 0.1), (SLOW, 0.95, 0.8)],
    ids=["fast enough", "the mirror is slow", "the mirror has enough to do"],
)
def test_one_is_enough(rate: float, waiting: float, busy: float) -> None:
    line = Line()
    assert line.goes_on(5, rate, waiting, busy) == 1
    assert line.width.is_settled
    # What the mirror does at the moment says nothing of its upstream.
    assert line.width.rate == (pytest.approx(rate, rel=0.01) if rate > FAST else None)


def test_a_large_blob_is_not_judged_by_a_few_bytes() -> None:
    line = Line()
    assert line.goes_on(0.5, width_module.FIRST_LOOK) == 1
    assert not line.width.is_settled
    assert FIRST_LOOK > 0


def test_a_small_one_is_judged_soon_unless_the_mirror_has_enough_to_do() -> None:
    line = Line()
    assert line.goes_on(3 * FIRST_SECONDS, width_module.FIRST_LOOK, left=SOON) == STEPS[1]
    assert line.width.rate is not None
    line = Line()
    assert line.goes_on(3 * FIRST_SECONDS, width_module.FIRST_LOOK, left=SOON, busy=0.8) == 1
    assert not line.width.is_settled
    assert line.goes_on(30 * FIRST_SECONDS, width_module.FIRST_LOOK, left=SOON) == STEPS[1]


def test_for_a_few_bytes_there_are_no_others_but_what_was_seen_is_told() -> None:
    line = Line()
    assert line.goes_on(5, SLOW, left=1000) == 1
    assert line.width.is_settled
    assert line.width.rate == pytest.approx(SLOW, rel=0.2)


def test_what_came_first_has_waited_and_tells_of_no_speed() -> None:
    line = Line()
    line.width.look(Seen(0.0, 0, SOON, 0.0, 0.0))
    line.received = 100 * FAST
    assert line.goes_on(0.1, SLOW) == STEPS[1]


def test_what_others_have_seen_is_believed_at_once() -> None:
    line = Line()
    assert line.goes_on(0.01, SLOW, known=SLOW) == STEPS[1]
    assert line.goes_on(GRACE_SECONDS + LOOK_SECONDS + 0.1, SLOW, known=SLOW) == STEPS[0]
    assert line.width.rate == math.inf
    line = Line()
    assert line.goes_on(0.01, SLOW, known=FAST) == 1
    assert line.width.is_settled


@given(
    st.lists(st.tuples(st.floats(0, 0.1), st.integers(0, 2**22), st.floats(0, 1), st.floats(0, 1)), max_size=60),
    st.integers(0, 2**28),
    st.none() | st.floats(0, 2 * FAST),
)
def test_however_it_goes_there_are_as_many_as_there_may_be(
    course: list[tuple[float, int, float, float]], left: int, known: float | None
) -> None:
    """Never more than a step at a time; none once it is settled, for what is not worth it, or of a fast upstream."""
    width, now, received, waited, busy = Width(), 0.0, 0, 0.0, 0.0
    for seconds, size, waiting, working in course:
        before, was_settled = width.value, width.is_settled
        seen = Seen(now, received, left, waited, busy)
        width.look(seen, known)
        steps = STEPS.index(width.value) - STEPS.index(before)
        assert abs(steps) <= 1
        assert not (was_settled and steps)
        if steps > 0:
            rate = width._before[1]
            assert left >= rate * WORTH
            assert before > STEPS[0] or rate < FAST
        if known is not None and known >= FAST:
            assert width.value == 1
        now, received, left = now + seconds, received + size, max(0, left - size)
        waited, busy = waited + waiting * seconds, busy + working * seconds


# All together. -------------------------------------------------------------------------------------------


class RangedUpstream:
    """Gives parts of DATA, each connection at RATE; `troubles` has what becomes of the connections, in order."""

    def __init__(self, *troubles: str, rate: float = RATE) -> None:
        self.troubles = list(troubles)
        self.rate = rate
        self.rests: list[Rest] = []
        self.sent: list[Part] = []
        self.open: set[RangedTransfer] = set()
        self.most_at_once = 0
        self.total = len(DATA)
        self.sent_when_asked: list[int] = []

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        raise AssertionError("the length is known")

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest = WHOLE) -> RangedTransfer:
        self.rests.append(rest)
        self.sent_when_asked.append(sum(part.size for part in self.sent))
        trouble = self.troubles.pop(0) if self.troubles else "none"
        await asyncio.sleep(0.03)
        errors: dict[str, MirrorError] = {
            "throttled": UpstreamThrottled("429", 1),
            "refused": BlobUnknown("404"),
            "unreachable": UpstreamUnreachable("reset"),
        }
        if trouble in errors:
            raise errors[trouble]
        start, stop = rest.start, min(rest.stop or len(DATA), len(DATA))
        if trouble == "ignores":
            start, stop = 0, len(DATA)
        if trouble == "another":
            start += 1
        transfer = RangedTransfer(self, start, stop, trouble)
        self.open.add(transfer)
        self.most_at_once = max(self.most_at_once, len(self.open))
        return transfer


class RangedTransfer:
    def __init__(self, upstream: RangedUpstream, start: int, stop: int, trouble: str) -> None:
        self._upstream = upstream
        self._offset = start
        self._end = stop
        self._trouble = trouble
        self._middle = (start + stop) // 2
        self.start = start
        self.stop = None if stop == len(DATA) else stop
        self.size = len(DATA) + (trouble == "longer")
        self.validator = Validator('"1"', "https://registry.example")

    async def read(self, most: int | None = None) -> bytes:
        size = min(4 * KIB, self._end - self._offset)
        if not size:
            if self._trouble == "lingers":
                await asyncio.sleep(3600)
            return b""
        if self._offset >= self._middle and self._trouble == "cut":
            raise UpstreamUnreachable("reset")
        if self._offset >= self._middle and self._trouble == "stalls":
            await asyncio.sleep(3600)
        if self._offset >= self._middle and self._trouble == "ends":
            return b""
        await asyncio.sleep(size / self._upstream.rate)
        data = DATA[self._offset : self._offset + size]
        self._upstream.sent.append(Part(self._offset, self._offset + size))
        self._offset += size
        return data

    def close(self) -> None:
        self._upstream.open.discard(self)


class Fetch:
    """A supply in parts, and what came of it."""

    def __init__(self, upstream: RangedUpstream, *, limit: int = 64, lanes: Lanes | None = None) -> None:
        self.upstream = upstream
        self.observer = Recorder()
        self.lanes = lanes or Lanes(Turns({"docker.io": limit}), self.observer)
        self.lanes.expect(DIGEST, len(DATA))
        self.segments = Segments(upstream, HUB, DIGEST, self.lanes)  # type: ignore[arg-type]  # it has blobs only
        self.supply = Supply(self.segments, HUB, DIGEST, Recorder())
        self.got = b""

    async def read(self, have: int = 0) -> bytes:
        """Return all that came, each byte where it belongs."""
        self.got = DATA[:have]
        try:
            await self.supply.open(have)
            while True:
                offset, data = await self.supply.read(len(self.got))
                if not data:
                    return self.got
                known = len(self.got) - offset
                assert known >= 0
                assert bytes(data[:known]) == self.got[offset : offset + len(data)]
                self.got += bytes(data[known:])
        finally:
            self.supply.close()
            await self.segments.close()

    def check(self) -> None:
        """Nothing is left, and nothing came twice."""
        assert not self.upstream.open
        assert not self.lanes._taken
        offset = 0
        for part in sorted(self.upstream.sent, key=lambda part: part.start):
            assert part.start >= offset, "bytes came twice"
            offset = part.stop


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_blob_comes_by_several_connections_each_byte_once() -> None:
    fetch = Fetch(RangedUpstream())
    assert await fetch.read() == DATA
    assert now() < 0.5 * len(DATA) / RATE
    assert 2 <= fetch.upstream.most_at_once <= STEPS[-1]
    told = fetch.observer.of(InParts)
    assert set(told) == {InParts("docker.io", Parts.BEGUN)}
    assert len(told) == len(fetch.upstream.rests) - 1
    fetch.check()


@pytest.mark.parametrize("have", [1, 40 * KIB, 200 * KIB, len(DATA) - 1])
@in_virtual_time
async def test_what_is_left_of_a_blob_as_well(have: int) -> None:
    fetch = Fetch(RangedUpstream())
    assert await fetch.read(have) == DATA
    assert min(part.start for part in fetch.upstream.sent) == have
    fetch.check()


@in_virtual_time
async def test_a_fast_upstream_is_asked_for_the_rest_in_one_piece() -> None:
    fetch = Fetch(RangedUpstream(rate=2 * FAST))
    assert await fetch.read() == DATA
    assert [(rest.start, rest.stop) for rest in fetch.upstream.rests] == [(0, 40 * KIB), (40 * KIB, len(DATA))]
    fetch.check()
    # And the next blob in one piece from the beginning.
    again = Fetch(RangedUpstream(rate=2 * FAST), lanes=fetch.lanes)
    assert await again.read() == DATA
    assert [rest.stop for rest in again.upstream.rests] == [None]


@in_virtual_time
async def test_what_one_blob_has_shown_is_known_of_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Fetch(RangedUpstream())
    assert await first.read() == DATA
    monkeypatch.setattr(width_module, "FIRST_LOOK", 2 * len(DATA))
    monkeypatch.setattr(width_module, "SOON", 0)
    second = Fetch(RangedUpstream(), lanes=first.lanes)
    await second.supply.open(0)
    await second.supply.read(0)
    assert len(second.upstream.rests) == STEPS[1]
    second.supply.close()
    await second.segments.close()
    second.check()
    # For a while.
    await asyncio.sleep(lanes_module.BELIEVED_SECONDS)
    third = Fetch(RangedUpstream(), lanes=first.lanes)
    assert await third.read() == DATA
    assert third.upstream.most_at_once <= 2


@in_virtual_time
async def test_of_what_several_have_shown_the_most_is_believed() -> None:
    lanes = Lanes(Turns(), Recorder())
    assert lanes.rate("docker.io") is None
    for rate in (SLOW, 2 * SLOW, SLOW):
        lanes.saw("docker.io", rate)
    assert lanes.rate("docker.io") == 2 * SLOW
    assert lanes.rate("quay.io") is None
    await asyncio.sleep(lanes_module.BELIEVED_SECONDS)
    lanes.saw("docker.io", SLOW)
    assert lanes.rate("docker.io") == SLOW


@pytest.mark.parametrize(("received", "is_nearly_here"), [(100, False), (399, False), (400, True), (500, True)])
def test_a_part_is_nearly_here_once_three_quarters_of_it_have_come(received: int, is_nearly_here: bool) -> None:
    segment = Segment(Part(100, 500))
    segment.received = received
    assert segment.is_nearly_here is is_nearly_here


@in_virtual_time
async def test_what_is_not_judged_is_asked_for_part_by_part_each_before_the_one_before_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(width_module, "FIRST_LOOK", 2 * len(DATA))
    monkeypatch.setattr(width_module, "SOON", 0)
    fetch = Fetch(RangedUpstream())
    assert await fetch.read() == DATA
    starts = range(0, len(DATA), 40 * KIB)
    assert [rest.start for rest in fetch.upstream.rests] == [*starts]
    assert all(sent < start for sent, start in zip(fetch.upstream.sent_when_asked[1:], starts[1:], strict=True))
    assert fetch.upstream.most_at_once <= 2
    assert fetch.lanes.pay("docker.io", DIGEST)
    fetch.check()


@in_virtual_time
async def test_a_small_blob_is_asked_for_as_ever() -> None:
    fetch = Fetch(RangedUpstream())
    fetch.lanes._sizes.clear()
    fetch.segments = Segments(fetch.upstream, HUB, DIGEST, fetch.lanes)  # type: ignore[arg-type]
    fetch.supply = Supply(fetch.segments, HUB, DIGEST, Recorder())
    assert await fetch.read() == DATA
    assert fetch.upstream.rests == [WHOLE]


@in_virtual_time
async def test_clients_keep_half_of_the_turns() -> None:
    fetch = Fetch(RangedUpstream(), limit=4)
    assert await fetch.read() == DATA
    assert fetch.upstream.most_at_once <= 3
    fetch.check()


@in_virtual_time
async def test_an_upstream_that_ignores_ranges_is_read_by_one_connection() -> None:
    fetch = Fetch(RangedUpstream("ignores"))
    assert await fetch.read() == DATA
    assert len(fetch.upstream.rests) == 1
    assert fetch.observer.of(InParts) == []
    fetch.check()


@pytest.mark.parametrize("trouble", ["throttled", "another", "longer", "ignores", "ends"])
@in_virtual_time
async def test_an_upstream_that_wants_no_more_is_asked_no_more(trouble: str) -> None:
    fetch = Fetch(RangedUpstream("none", trouble))
    assert await fetch.read() == DATA
    assert not fetch.lanes.pay("docker.io", DIGEST)
    assert fetch.observer.of(InParts).count(InParts("docker.io", Parts.REFUSED)) == 1
    fetch.check()


@pytest.mark.parametrize("trouble", ["cut", "stalls", "unreachable", "refused", "ends", "throttled"])
@pytest.mark.parametrize("place", range(5))
@in_virtual_time
async def test_of_a_part_that_was_cut_only_what_is_missing_is_asked_for_again(trouble: str, place: int) -> None:
    fetch = Fetch(RangedUpstream(*["none"] * place, trouble))
    if (place, trouble) == (0, "refused"):
        with pytest.raises(BlobUnknown):
            await fetch.read()
        return
    if place == 0 and trouble in ("unreachable", "throttled"):
        with pytest.raises(MirrorError):
            await fetch.read()
        return
    assert await fetch.read() == DATA
    fetch.check()


@pytest.mark.parametrize("place", [0, 1, 4])
@in_virtual_time
async def test_a_part_that_is_here_is_not_waited_for_because_its_end_is_not_told(place: int) -> None:
    fetch = Fetch(RangedUpstream(*["none"] * place, "lingers"))
    assert await fetch.read() == DATA
    fetch.check()
    assert now() < STALL_SECONDS


@in_virtual_time
async def test_who_is_cancelled_while_a_part_ends_can_have_its_last_bytes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segment_module, "END_WITHIN", STALL_SECONDS + 5)
    fetch = Fetch(RangedUpstream("lingers"))
    assert await fetch.read() == DATA
    assert not fetch.upstream.open
    assert not fetch.lanes._taken


@in_virtual_time
async def test_who_is_cancelled_leaves_nothing_behind() -> None:
    for after in (0.01, 0.1, 0.3, 0.5, 1.0):
        fetch = Fetch(RangedUpstream())
        reading = asyncio.create_task(fetch.read())
        await asyncio.sleep(after)
        reading.cancel()
        await asyncio.wait([reading])
        fetch.check()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_goes_wrong_each_byte_comes_once(seed: int) -> None:
    chance = random.Random(seed)
    kinds = ["none", "none", "none", "cut", "ends", "stalls", "unreachable", "throttled"]
    troubles = ["none", *(chance.choice(kinds) for _ in range(chance.randint(0, 5)))]

    async def play() -> None:
        fetch = Fetch(RangedUpstream(*troubles, rate=chance.choice([RATE / 4, RATE, 10 * RATE])))
        assert await fetch.read() == DATA
        assert fetch.upstream.most_at_once <= STEPS[-1] + 1
        fetch.check()

    run(play())
