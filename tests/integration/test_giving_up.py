"""A client that comes back the moment it was cut finds a new fill, not the rest of the one that failed."""

from __future__ import annotations

import time

import pytest

from mirror.store.partial import Partial
from tests.fakes import content
from tests.fakes.faults import both, cut_at, stop_at, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.conftest import StartMirror
from tests.integration.raw_http import raw_client

SIZE = 4 * 1024 * 1024


@pytest.mark.parametrize("is_wrong", [False, True], ids=["cut", "wrong"])
async def test_the_next_request_is_right_however_soon_it_comes(
    registry: FakeRegistry,
    journal: Journal,
    start_mirror: StartMirror,
    monkeypatch: pytest.MonkeyPatch,
    is_wrong: bool,
) -> None:
    blob, gate = content.blob(SIZE), Gate()
    registry.put_blob("library/alpine", blob)
    path = f"/v2/library/alpine/blobs/{blob.digest}"
    fault = wrong_bytes(0) if is_wrong else cut_at(SIZE // 2)
    registry.fault(path, both(fault, stop_at(SIZE // 4, gate)))
    monkeypatch.setattr("mirror.proxy.fills.retry.RESUMES", 0)
    for name in ("_keep", "_discard"):
        _slow_down(monkeypatch, name)
    async with start_mirror() as mirror, raw_client(mirror) as client:
        await client.ask(path)
        gate.open()
        assert not (await client.answer()).whole
        response, body = await mirror.get(path)
    assert response.status == 200
    assert body == blob.data
    assert journal.count("GET", path) == 2


def _slow_down(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a disk that is busy take its time to let go of a partial file."""
    original = getattr(Partial, name)

    def slow(partial: Partial) -> None:
        time.sleep(0.3)
        original(partial)

    monkeypatch.setattr(Partial, name, slow)
