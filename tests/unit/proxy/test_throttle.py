"""So many bytes a second from an upstream, by all its fills together, and none of them is forgotten."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import UpstreamUnreachable
from mirror.oci.digest import Digest
from mirror.proxy.events.fills import FillResumed
from mirror.proxy.fills.supply import Supply
from mirror.proxy.fills.throttle import BURST_SECONDS, LARGEST_PIECE, SMALLEST_PIECE, UNLIMITED, Bandwidth, Throttle
from tests.unit.proxy.doubles import HUB, ScriptedTransfer, ScriptedUpstream
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, run, settle

KIB = 1024


def now() -> float:
    return asyncio.get_running_loop().time()


# The bucket. -------------------------------------------------------------------------------------------------

rates = st.integers(1, 10**9)
takes = st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 100)), min_size=1, max_size=50)


@given(rates, takes)
def test_no_more_is_taken_in_any_time_than_that_time_is_worth(rate: int, wanted: list[tuple[int, float]]) -> None:
    bandwidth, at, taken = Bandwidth(rate), 0.0, []
    for size, idle in wanted:
        at += idle
        at += bandwidth.pause(at)
        bandwidth.spend(size, at)
        taken.append((at, size))
    largest = max(size for size, _ in wanted)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            seconds = taken[last][0] - taken[first][0]
            total = sum(size for _, size in taken[first : last + 1])
            assert total <= rate * (seconds + BURST_SECONDS) * (1 + 1e-9) + largest


@given(rates, st.integers(1, 10**6), st.integers(0, 10**6))
def test_what_is_given_back_is_as_if_it_had_not_been_taken(rate: int, size: int, read: int) -> None:
    one, other = Bandwidth(rate), Bandwidth(rate)
    for bandwidth in (one, other):
        bandwidth.spend(10 * rate, 0.0)
    one.spend(size, 0.0)
    one.spend(min(read, size) - size, 0.0)
    other.spend(min(read, size), 0.0)
    assert one.pause(0.0) == pytest.approx(other.pause(0.0))


def test_nothing_is_saved_up_for_longer_than_a_while() -> None:
    bandwidth = Bandwidth(1000)
    bandwidth.spend(1, 0.0)
    assert bandwidth.pause(1e6) == 0
    bandwidth.spend(1500, 1e6)
    assert bandwidth.pause(1e6) == pytest.approx(1500 / 1000 - BURST_SECONDS)


# Turns. ------------------------------------------------------------------------------------------------------


class Line:
    """A line to an upstream that brings as much as may be read, or `at_most` a turn."""

    def __init__(self, rate: int) -> None:
        self.throttle = Throttle(rate)
        self.read: dict[str, int] = {}

    async def fill(self, name: str, until: float, at_most: int = LARGEST_PIECE) -> None:
        """Read until that time."""
        piece = self.throttle.piece
        assert piece is not None
        self.read[name] = 0
        while now() < until:
            await self.throttle.turn()
            size = min(piece, at_most)
            self.throttle.took(size)
            self.read[name] += size
            await asyncio.sleep(0)


@settings(max_examples=30)
@given(st.integers(64 * KIB, 10**9), st.integers(1, 64))
def test_fills_that_want_as_much_as_they_can_have_get_the_same(rate: int, fills: int) -> None:
    line = Line(rate)

    async def all_of_them() -> None:
        await asyncio.gather(*(line.fill(str(number), 3.0) for number in range(fills)))

    run(all_of_them())
    piece = line.throttle.piece or 0
    assert max(line.read.values()) - min(line.read.values()) <= piece
    assert sum(line.read.values()) <= rate * (3 + BURST_SECONDS) + (fills + 1) * piece
    assert sum(line.read.values()) >= rate * 3


@in_virtual_time
async def test_what_one_leaves_is_the_others() -> None:
    line = Line(1024 * KIB)
    piece = line.throttle.piece or 0
    await asyncio.gather(line.fill("greedy", 60.0), line.fill("slow", 60.0, at_most=piece // 8))
    assert sum(line.read.values()) >= 1024 * KIB * 60
    assert line.read["greedy"] > 7 * line.read["slow"]


@pytest.mark.parametrize(
    ("rate", "piece"), [(64 * KIB, SMALLEST_PIECE), (1024 * KIB, 16 * KIB), (1024**3, LARGEST_PIECE)]
)
def test_pieces_are_such_that_everybody_has_a_turn_soon(rate: int, piece: int) -> None:
    assert Throttle(rate).piece == piece


@in_virtual_time
async def test_who_leaves_while_waiting_takes_nothing_along() -> None:
    throttle = Throttle(64 * KIB)
    piece = throttle.piece or 0
    for _ in range(64):
        await throttle.turn()
        throttle.took(piece)
    leaving = [asyncio.create_task(throttle.turn()) for _ in range(10)]
    await settle()
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    before = now()
    await throttle.turn()
    assert now() - before <= 2 * piece / (64 * KIB) + 0.001


@in_virtual_time
async def test_without_a_rate_nobody_waits() -> None:
    for _ in range(1000):
        await UNLIMITED.turn()
        UNLIMITED.took(10**9)
    assert now() == 0


# A supply. ---------------------------------------------------------------------------------------------------

DATA = os.urandom(1024 * KIB)


async def supplied(throttle: Throttle, *answers: ScriptedTransfer) -> Recorder:
    """Read the blob through the throttle; returns what was told meanwhile."""
    observer = Recorder()
    supply = Supply(ScriptedUpstream(blobs=list(answers)), HUB, Digest.of(DATA), observer, throttle)
    await supply.open(0)
    got = b""
    while data := (await supply.read(len(got)))[1]:
        assert throttle.piece is not None
        assert len(data) <= throttle.piece
        got += data
    assert got == DATA
    return observer


@in_virtual_time
async def test_an_upstream_that_is_held_back_is_not_one_that_is_slow_or_silent() -> None:
    throttle = Throttle(64 * KIB)
    others = [asyncio.create_task(Line.fill(_line(throttle), str(number), 200.0)) for number in range(100)]
    observer = await supplied(throttle, ScriptedTransfer([DATA], len(DATA)))
    assert now() > 100
    assert observer.of(FillResumed) == []
    for task in others:
        task.cancel()


def _line(throttle: Throttle) -> Line:
    line = Line(1)
    line.throttle = throttle
    return line


@in_virtual_time
async def test_a_turn_in_which_nothing_came_is_given_back() -> None:
    throttle = Throttle(1024 * KIB)
    cuts = [ScriptedTransfer([UpstreamUnreachable("reset")], len(DATA)) for _ in range(4)]
    observer = await supplied(throttle, *cuts, ScriptedTransfer([DATA], len(DATA)))
    assert len(observer.of(FillResumed)) == 4
    # A second's worth at once, and the pauses between tries.
    assert now() < 2
