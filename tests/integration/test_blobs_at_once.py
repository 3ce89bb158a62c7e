"""A blob that is asked for again, on its way at once or not: what goes at once is sent without a task."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from structlog.testing import capture_logs

from mirror.server.repeats.sending import Sending
from mirror.store import folder as folder_module
from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror
from tests.integration.given_again import open_descriptors, remember
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until

SMALL = content.blob(64 * 1024, "small")
LARGE = content.blob(16 * 1024 * 1024, "large")
"""More than a kernel keeps in the buffers of a connection that nobody reads."""

HITS = 'mirror_requests_total{kind="blob",outcome="hit",upstream="docker.io"}'


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Sending]:
    """What did not go at once."""
    seen: list[Sending] = []

    def noted(*arguments: Any) -> Sending:
        seen.append(Sending(*arguments))
        return seen[-1]

    monkeypatch.setattr("mirror.server.repeats.answering.Sending", noted)
    return seen


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files open, and are in memory, without a wait, whatever kernel and disk this is."""
    monkeypatch.setattr(folder_module, "can_tell", lambda _: True)
    monkeypatch.setattr(folder_module, "open_at_once", os.open)
    monkeypatch.setattr("mirror.store.reading.in_memory", lambda *_: True)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_the_socket_takes_at_once_needs_no_task_and_leaves_nothing_behind(
    mirror: RunningMirror, registry: FakeRegistry, tasks: list[Sending], method: str
) -> None:
    asked = await remember(mirror, registry, SMALL, method)
    async with raw_client(mirror) as client:
        await client.send(asked)
        await client.answer(method)
        before = open_descriptors()
        for _ in range(5):
            await client.send(asked)
            assert (await client.answer(method)).whole
        assert open_descriptors() == before
    assert tasks == []
    assert not mirror.mirror._cache.blobs._committed._leases
    assert await mirror.metric(HITS) == 7


@pytest.mark.parametrize("what", ["opens", "is read"])
async def test_what_has_to_be_waited_for_is_sent_by_a_task(
    mirror: RunningMirror,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    tasks: list[Sending],
    what: str,
) -> None:
    asked = await remember(mirror, registry, SMALL)
    if what == "opens":
        monkeypatch.setattr(folder_module, "open_at_once", would_wait)
    else:
        monkeypatch.setattr("mirror.store.reading.in_memory", lambda *_: False)
    async with raw_client(mirror) as client:
        for _ in range(3):
            await client.send(asked)
            assert (await client.answer()).body == SMALL.data
    assert len(tasks) == 3


def would_wait(*_: Any, **__: Any) -> Any:
    raise BlockingIOError


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("gives", "cause", "is_kept"),
    [
        (0, "body cut: the file is shorter than it was", False),
        (errno.EIO, "body cut: the disk gives an error instead of the bytes", False),
        (errno.EPIPE, "the client went away", True),
        (errno.EINVAL, "body cut: OSError", True),
    ],
)
async def test_what_goes_wrong_at_once_is_told_and_cuts_the_connection(
    mirror: RunningMirror,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    cache_folder: CacheFolder,
    gives: int,
    cause: str,
    is_kept: bool,
) -> None:
    asked = await remember(mirror, registry, SMALL)

    def sendfile(*_: int) -> int:
        if gives:
            raise OSError(gives, os.strerror(gives))
        return 0

    with capture_logs() as lines:
        async with raw_client(mirror) as client:
            monkeypatch.setattr(os, "sendfile", sendfile)
            await client.send(asked)
            assert SMALL.data not in await client.rest()
            await until(lambda: any("cause" in line for line in lines), "it is told")
    assert [(line["bytes"], line["cause"]) for line in lines if line["event"] == "request"] == [(0, cause)]
    assert (SMALL.digest in cache_folder.digests()) == is_kept
    assert not mirror.mirror._cache.blobs._committed._leases


@pytest.mark.usefixtures("at_once")
async def test_who_is_cut_before_its_task_runs_is_told_of_and_leaves_nothing_behind(
    mirror: RunningMirror, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await remember(mirror, registry, LARGE)
    begun: list[Sending] = []

    def given_up(*arguments: Any) -> Sending:
        begun.append(Sending(*arguments))
        begun[0].cancel()
        return begun[0]

    monkeypatch.setattr("mirror.server.repeats.answering.Sending", given_up)
    with capture_logs() as lines:
        async with raw_client(mirror, 4096) as client:
            before = open_descriptors()
            await client.send(asked)
            await until(lambda: len(lines) == 1, "it is told")
            assert LARGE.data.startswith((await client.rest()).partition(b"\r\n\r\n")[2])
    assert lines[0]["cause"] == "cut: the client went away, or the mirror is stopping"
    assert 0 < lines[0]["bytes"] < len(LARGE.data)
    assert open_descriptors() <= before
    assert not mirror.mirror._cache.blobs._committed._leases
