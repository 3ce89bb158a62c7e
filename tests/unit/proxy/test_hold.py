from __future__ import annotations

import asyncio

import pytest

from mirror.proxy.fills import layers as layers_module
from mirror.proxy.fills.hold import HOLD_SECONDS, Hold, Unclaimed
from mirror.proxy.fills.layers import Layers
from mirror.proxy.fills.turns import Turns
from tests.unit.virtual_time import in_virtual_time, settle


async def nobody() -> bool:
    return False


class Blob:
    """A blob that is held; `claims` counts how often it was said that somebody came."""

    def __init__(self) -> None:
        self.claims = 0
        self.hold = Hold(self._claimed)

    def _claimed(self) -> None:
        self.claims += 1


@in_virtual_time
async def test_nobody_is_waited_for_for_ever() -> None:
    blob = Blob()
    with pytest.raises(Unclaimed):
        await blob.hold.passed(nobody)
    assert asyncio.get_running_loop().time() == pytest.approx(HOLD_SECONDS, abs=0.2)
    assert (blob.claims, blob.hold.is_held) == (0, True)


@in_virtual_time
async def test_who_comes_is_noticed_once() -> None:
    blob = Blob()
    passing = asyncio.create_task(blob.hold.passed(nobody))
    await settle()
    assert not passing.done()
    blob.hold.claim()
    blob.hold.claim()
    await passing
    assert asyncio.get_running_loop().time() < 0.01
    assert (blob.claims, blob.hold.is_claimed, blob.hold.is_held) == (1, True, False)


@in_virtual_time
async def test_who_was_there_before_it_is_held_does_not_wait() -> None:
    blob = Blob()
    blob.hold.claim()
    await blob.hold.passed(nobody)
    assert asyncio.get_running_loop().time() < 0.01


@in_virtual_time
async def test_what_may_go_on_is_not_claimed_by_that() -> None:
    blob = Blob()
    blob.hold.release()
    await blob.hold.passed(nobody)
    assert (blob.claims, blob.hold.is_claimed) == (0, False)
    blob.hold.claim()
    assert blob.claims == 1


@in_virtual_time
async def test_what_is_dropped_is_over_at_once() -> None:
    blob = Blob()
    passing = asyncio.create_task(blob.hold.passed(nobody))
    await settle()
    blob.hold.drop()
    with pytest.raises(Unclaimed):
        await passing
    assert asyncio.get_running_loop().time() < 0.01


@in_virtual_time
async def test_a_client_of_another_process_is_seen() -> None:
    blob = Blob()

    async def wanted() -> bool:
        return asyncio.get_running_loop().time() > 3

    await blob.hold.passed(wanted)
    assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.3)
    assert blob.claims == 1


# The layers of an image. ---------------------------------------------------------------------------------


def image(*sizes: int | None) -> tuple[Layers, list[Hold]]:
    """An image whose layers, of these sizes, have all been begun."""
    layers, holds = Layers(), []
    for size in sizes:
        hold = Hold(lambda: None)
        holds.append(hold)
        layers.begun(hold, size)
    return layers, holds


def come_for(layers: Layers, hold: Hold) -> None:
    hold.claim()
    layers.claimed(hold)


def held(holds: list[Hold]) -> list[bool]:
    return [hold.is_held for hold in holds]


@pytest.mark.parametrize("place", range(4))
def test_what_lies_above_goes_on_and_what_lies_below_does_not(place: int) -> None:
    layers, holds = image(1, 2, 3, 4)
    come_for(layers, holds[place])
    assert held(holds) == [number < place for number in range(4)]


def test_nothing_goes_on_before_somebody_comes() -> None:
    assert held(image(1, 2, 3)[1]) == [True] * 3


def test_a_layer_that_is_begun_late_goes_on_as_well() -> None:
    layers, holds = image(1, 2)
    come_for(layers, holds[1])
    late = Hold(lambda: None)
    layers.begun(late, 3)
    assert held([*holds, late]) == [True, False, False]


def test_a_layer_that_a_client_had_asked_for_before_counts() -> None:
    layers, holds = image(1)
    layers.fetched()
    late = Hold(lambda: None)
    layers.begun(late, 3)
    assert held([*holds, late]) == [True, False]


def test_only_so_much_goes_on_that_nobody_has_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers_module, "MOST_BYTES", 10)
    layers, holds = image(100, 6, None, 5, 4)
    come_for(layers, holds[0])
    assert held(holds) == [False, False, True, True, False]
    # What is asked for makes room for more.
    come_for(layers, holds[1])
    assert held(holds) == [False, False, True, False, False]


# Turns. --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "spare"), [(1, 0), (2, 1), (3, 1), (8, 4)])
@in_virtual_time
async def test_half_of_the_turns_are_for_clients(limit: int, spare: int) -> None:
    turns = Turns({"docker.io": limit})
    got = [await turns.take_spare("docker.io", number) for number in range(limit)]
    assert got == [number < spare for number in range(limit)]
    for number in range(spare, limit):
        await turns.take("docker.io", number)
    turns.leave(0)
    assert not await turns.take_spare("docker.io", "late")
    assert asyncio.get_running_loop().time() < 0.01


@in_virtual_time
async def test_a_spare_turn_is_given_back() -> None:
    turns = Turns({"docker.io": 2})
    assert await turns.take_spare("docker.io", "one")
    turns.leave("one")
    assert await turns.take_spare("docker.io", "another")
