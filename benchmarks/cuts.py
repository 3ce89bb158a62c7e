"""What cuts, kills and herds cost: bytes from upstream for one blob, and the wait for a first byte.

Prints a table and ends with 1 if a figure misses its goal.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.stage import Stage, stage
from tests.fakes.faults import cut_at, rate
from tests.integration.command import Serving
from tests.integration.paths import path_of
from tests.integration.processes import MIB, kill, pull, reading, written
from tests.integration.raw_http import raw_client

CLIENTS = 50
SPEED = 100e6
"""Bytes a second that upstream sends where its speed matters."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, the most it may be, and how it came about."""

    name: str
    value: float
    unit: str
    most: float
    detail: str

    def __str__(self) -> str:
        verdict = "ok" if self.is_met else "MISSED"
        return f"{self.name:<44} {self.value:7.3f} {self.unit}  (goal {self.most:.2f})  {verdict:<7} {self.detail}"

    @property
    def is_met(self) -> bool:
        """Tell whether the goal is reached."""
        return self.value <= self.most


async def herd(on: Stage) -> Figure:
    """Ask for a cold blob from many clients at once, half of them through another process."""
    pair = await on.mirrors.start(2)
    started = time.monotonic()
    async with reading(on.blob, *pair * (CLIENTS // 2)) as readers:
        whole = await asyncio.gather(*(reader.comes_whole() for reader in readers))
    speed = sum(whole) * on.blob.size / (time.monotonic() - started) / 1e6
    detail = f"{sum(whole)} of {CLIENTS} whole, {on.transfers} transfer, {speed:.0f} MB/s to all clients together"
    return Figure(f"{CLIENTS} cold clients of two processes", on.fetched, "x", 1.0, detail)


async def two_cuts(on: Stage) -> Figure:
    """Cut upstream's connection twice within one blob."""
    (mirror,) = await on.mirrors.start(1)
    third = on.blob.size // 3
    on.spoil(cut_at(third), cut_at(third))
    await pull(mirror, on.blob)
    return Figure("upstream cuts twice", on.fetched, "x", 1.05, f"{on.transfers} transfers")


async def killed_and_restarted(on: Stage) -> Figure:
    """Kill the only mirror at 60 %, start it again, and pull."""
    (mirror,) = await on.mirrors.start(1)
    await _killed_at(on, mirror, 0.6)
    (mirror,) = await on.mirrors.start(1)
    await pull(mirror, on.blob)
    return Figure("kill -9 at 60 %, restart, next pull", on.fetched, "x", 1.1, f"{on.transfers} transfers")


async def killed_and_taken_over(on: Stage) -> Figure:
    """Kill the process that fetches at 60 %, while a client of another reads along."""
    (writer,) = await on.mirrors.start(1)
    (other,) = await on.mirrors.start(1)
    on.spoil(rate(SPEED), rate(SPEED))
    async with reading(on.blob, writer), AsyncExitStack() as stack:
        (along,) = await stack.enter_async_context(reading(on.blob, other))
        finished = asyncio.create_task(along.comes_whole())
        await written(on.mirrors.cache, on.blob, on.blob.size * 6 // 10)
        await kill(writer)
        right = await finished
    detail = f"{on.transfers} transfers; the other's client has {'all of it' if right else 'WRONG BYTES'}"
    return Figure("kill -9 at 60 %, another process takes over", on.fetched, "x", 1.1, detail)


async def _killed_at(on: Stage, mirror: Serving, share: float) -> None:
    on.spoil(rate(SPEED))
    async with reading(on.blob, mirror):
        await written(on.mirrors.cache, on.blob, int(on.blob.size * share))
        await kill(mirror)


async def first_bytes(on: Stage) -> Figure:
    """Join a blob on its way with many clients at once, in the process that fetches and in another."""
    pair = await on.mirrors.start(2)
    on.spoil(rate(SPEED))
    async with reading(on.blob, pair[0]), AsyncExitStack() as stack:
        await written(on.mirrors.cache, on.blob, on.blob.size // 5)
        before, began = on.journal.body_bytes(), time.monotonic()
        waits = await asyncio.gather(
            *(_first_byte(stack, mirror.address("public"), on) for mirror in pair * (CLIENTS // 2))
        )
        speed = (on.journal.body_bytes() - before) / (time.monotonic() - began) / 1e6
    detail = f"median {sorted(waits)[CLIENTS // 2]:.3f} s; upstream sent {speed:.0f} MB/s meanwhile"
    return Figure(f"slowest first byte of {CLIENTS} who join", max(waits), "s", 0.5, detail)


async def _first_byte(stack: AsyncExitStack, address: str, on: Stage) -> float:
    """Return the seconds from asking to the first byte of the body; the connection stays open."""
    client = await stack.enter_async_context(raw_client(address))
    asked = time.monotonic()
    await client.ask(path_of(on.blob))
    head = await client.head()
    if head.status != 200:
        raise RuntimeError(f"status {head.status}")
    await client.exactly(1)
    return time.monotonic() - asked


MEASUREMENTS: tuple[Callable[[Stage], Awaitable[Figure]], ...] = (
    herd,
    two_cuts,
    killed_and_restarted,
    killed_and_taken_over,
    first_bytes,
)


async def run(size: int) -> bool:
    """Print every figure for a blob of `size` bytes; return whether all goals are reached."""
    figures = []
    for measure in MEASUREMENTS:
        async with stage(size) as on:
            figures.append(await measure(on))
        print(figures[-1], flush=True)
    return all(figure.is_met for figure in figures)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuts", description=__doc__)
    parser.add_argument("--size", type=int, default=200, metavar="MIB", help="length of the blob (default: 200)")
    size = parser.parse_args().size * MIB
    sys.exit(0 if asyncio.run(run(size)) else 1)


if __name__ == "__main__":
    main()
