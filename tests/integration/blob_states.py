"""The states in which a blob is asked for in part: not there yet, on its way, and stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest

from tests.fakes import content
from tests.fakes.faults import stop_at
from tests.fakes.gate import Gate
from tests.fakes.registry import FakeRegistry
from tests.integration.conftest import RunningMirror
from tests.integration.waiting import until_metric

MIB = 1024 * 1024
HOLD_BACK = 64 * 1024
SIZE = 3 * MIB + 5
BLOB = content.blob(SIZE)
PATH = f"/v2/library/alpine/blobs/{BLOB.digest}"


class State(Protocol):
    """Brings the blob into a state; leaving it lets a transfer that was stopped go on."""

    def __call__(self, registry: FakeRegistry, mirror: RunningMirror) -> AbstractAsyncContextManager[None]: ...


@asynccontextmanager
async def cold(registry: FakeRegistry, mirror: RunningMirror) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def growing(registry: FakeRegistry, mirror: RunningMirror) -> AsyncIterator[None]:
    """Upstream has sent a third; it goes on as soon as the request under test has been answered."""
    gate = Gate()
    registry.fault(PATH, stop_at(MIB, gate), method="GET")
    reader = asyncio.create_task(mirror.get(PATH))
    await gate.reached()
    opened = asyncio.get_running_loop().call_later(0.05, gate.open)
    yield
    opened.cancel()
    gate.open()
    await reader


@asynccontextmanager
async def stored(registry: FakeRegistry, mirror: RunningMirror) -> AsyncIterator[None]:
    await mirror.get(PATH)
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    yield


STATES = pytest.mark.parametrize("state", [cold, growing, stored])
