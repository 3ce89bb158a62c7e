from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mirror.store.memory import BoundedMemory
from tests.unit.virtual_time import in_virtual_time, steps


@pytest.fixture
async def memory() -> AsyncIterator[BoundedMemory]:
    """A memory of three entries."""
    kept = BoundedMemory(3)
    yield kept
    await kept.close()


async def test_what_was_set_is_got_until_deleted(memory: BoundedMemory) -> None:
    assert await memory.get("key") is None
    await memory.set("key", "value", 60)
    assert await memory.get("key") == "value"
    await memory.set("key", "other", 60)
    assert await memory.get("key") == "other"
    await memory.delete("key")
    assert await memory.get("key") is None
    await memory.delete("key")


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
async def test_what_would_live_no_time_is_not_kept(memory: BoundedMemory, seconds: float) -> None:
    await memory.set("key", "old", 60)
    await memory.set("key", "new", seconds)
    assert await memory.get("key") is None


async def test_the_entry_that_was_set_first_makes_room(memory: BoundedMemory) -> None:
    for number in range(5):
        await memory.set(f"key {number}", str(number), 60)
    assert [await memory.get(f"key {number}") for number in range(5)] == [None, None, "2", "3", "4"]


async def test_long_entries_make_room_for_each_other() -> None:
    memory = BoundedMemory(characters=300)
    for number in range(50):
        await memory.set(f"key {number:04}", str(number % 10) * 92, 60)
    assert [number for number in range(50) if await memory.get(f"key {number:04}")] == [47, 48, 49]
    await memory.set("key 0049", "short", 60)
    await memory.set("other", "x" * 50, 60)
    # What became shorter left room.
    assert [bool(await memory.get(f"key 00{number}")) for number in (47, 48, 49)] == [True, True, True]
    await memory.set("too long", "x" * 300, 60)
    assert await memory.get("too long") is None
    assert await memory.get("other") == "x" * 50
    await memory.close()


async def test_setting_an_entry_anew_costs_no_other(memory: BoundedMemory) -> None:
    for key in ("a", "b", "c", "a", "a"):
        await memory.set(key, key, 60)
    assert [await memory.get(key) for key in "abc"] == ["a", "b", "c"]
    await memory.set("d", "d", 60)
    assert [await memory.get(key) for key in "abcd"] == ["a", None, "c", "d"]


async def test_one_memory_is_not_another(memory: BoundedMemory) -> None:
    other = BoundedMemory(3)
    await other.set("key", "value", 60)
    assert await memory.get("key") is None
    await other.close()


@in_virtual_time
async def test_entries_forget_themselves() -> None:
    memory = BoundedMemory(3)
    loop = asyncio.get_running_loop()
    await memory.set("short", "x", 0.5)
    await memory.set("long", "x", 100)
    await memory.set("renewed", "x", 1)
    await memory.set("renewed", "y", 100)
    await asyncio.sleep(2)
    assert loop.time() == 2
    assert [await memory.get(key) for key in ("short", "long", "renewed")] == [None, "x", "y"]
    for number in range(20):
        # What forgot itself takes no room.
        await memory.set(f"{number}", "x" * 10_000_000, 1)
        assert await memory.get("long") == "x"
        await asyncio.sleep(2)
    await memory.close()
    await steps(1)
    assert await memory.get("long") is None
