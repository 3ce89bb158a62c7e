"""Blobs that have been asked for, and which requests were answered because they came again in the very same bytes."""

from __future__ import annotations

import os

import pytest

from mirror.server.repeats.answering import AnsweringConnection
from mirror.server.repeats.repeat import Repeat
from tests.fakes.content import FakeBlob
from tests.fakes.registry import FakeRegistry
from tests.integration.conftest import RunningMirror
from tests.integration.raw_http import raw_client, request
from tests.integration.waiting import until_metric


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The heads that were found again."""
    seen: list[bytes] = []
    give = AnsweringConnection._give_again

    def noted(connection: AnsweringConnection, repeat: Repeat, head: bytes) -> None:
        seen.append(head)
        give(connection, repeat, head)

    monkeypatch.setattr(AnsweringConnection, "_give_again", noted)
    return seen


async def remember(mirror: RunningMirror, registry: FakeRegistry, blob: FakeBlob, method: str = "GET") -> bytes:
    """Have a blob stored and asked for, and return the bytes that ask for it."""
    registry.put_blob("library/alpine", blob)
    asked = request(f"/v2/library/alpine/blobs/{blob.digest}", method)
    await mirror.get(f"/v2/library/alpine/blobs/{blob.digest}")
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    async with raw_client(mirror) as client:
        await client.send(asked)
        assert (await client.answer(method)).whole
    return asked


def open_descriptors() -> int:
    """Return how many this process has."""
    return len(os.listdir("/proc/self/fd"))
