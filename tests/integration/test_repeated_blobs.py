"""Blobs that are asked for again in the very same bytes: exact bytes or a cut, as for every other request."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import pytest
from structlog.testing import capture_logs

from mirror.oci.digest import Digest
from mirror.server.repeats.answering import AnsweringConnection
from mirror.server.repeats.repeats import Repeats
from mirror.store import folder as folder_module
from mirror.store.folder import Folder
from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.given_again import again, open_descriptors, remember
from tests.integration.raw_http import RawClient, raw_client, request
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
SIZE = 16 * MIB
"""More than a kernel keeps in the buffers of a connection that nobody reads."""

TINY = 4096
BLOB = content.blob(SIZE)
PATH = f"/v2/library/alpine/blobs/{BLOB.digest}"
ASKED = request(PATH)
HITS = 'mirror_requests_total{kind="blob",outcome="hit",upstream="docker.io"}'

__all__ = ["again"]


@pytest.fixture
async def remembered(mirror: RunningMirror, registry: FakeRegistry, again: list[bytes]) -> None:
    """The blob has been asked for in the bytes that ask for it again."""
    await remember(mirror, registry, BLOB)


async def begin(client: RawClient) -> None:
    await client.send(ASKED)
    head = await client.head()
    assert (head.status, head.length) == (200, SIZE)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 5 * MIB])
async def test_every_size_comes_whole_as_often_as_it_is_asked_for(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, again: list[bytes], size: int, method: str
) -> None:
    blob = content.blob(size, "sized")
    asked = await remember(mirror, registry, blob, method)
    before = journal.count("GET"), journal.count("HEAD")
    with capture_logs() as lines:
        async with raw_client(mirror) as client:
            for _ in range(3):
                await client.send(asked)
                answer = await client.answer(method)
                assert (answer.head.status, answer.head.length, answer.whole) == (200, size, True)
                assert answer.body == (blob.data if method == "GET" else b"")
                assert answer.head.headers["cache-status"] == "mirror; hit"
    assert again == [asked] * 3
    assert (journal.count("GET"), journal.count("HEAD")) == before
    sent = size if method == "GET" else 0
    assert [(line["status"], line["bytes"], "cause" in line) for line in lines] == [(200, sent, False)] * 3


@pytest.mark.usefixtures("remembered")
async def test_what_is_sent_meanwhile_is_answered_behind_the_body(mirror: RunningMirror, again: list[bytes]) -> None:
    async with raw_client(mirror, TINY) as client:
        await begin(client)
        await client.send(request("/v2/") + ASKED)
        await client.send(request(PATH, "HEAD"))
        assert await client.exactly(SIZE) == BLOB.data
        assert (await client.answer()).body == b"{}"
        assert (await client.answer()).body == BLOB.data
        assert (await client.answer("HEAD")).head.length == SIZE
        await client.send(ASKED)
        assert (await client.answer()).body == BLOB.data
    assert again == [ASKED] * 2


@pytest.mark.usefixtures("remembered")
async def test_the_same_again_may_be_sent_within_its_body(mirror: RunningMirror, again: list[bytes]) -> None:
    async with raw_client(mirror, TINY) as client:
        await begin(client)
        await client.send(ASKED)
        assert await client.exactly(SIZE) == BLOB.data
        assert (await client.answer()).body == BLOB.data
    assert again == [ASKED] * 2


@pytest.mark.usefixtures("remembered")
async def test_what_is_sent_meanwhile_has_no_part_in_the_turn_that_answers_it(
    mirror: RunningMirror, again: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_client(mirror, TINY) as client:
        await begin(client)
        found: list[bytes] = []
        monkeypatch.setattr(Repeats, "find", lambda _, head: found.append(head))
        await client.send(ASKED)
        assert await client.exactly(SIZE) == BLOB.data
        assert (await client.answer()).body == BLOB.data
    assert again == [ASKED] * 2
    assert found == []


@pytest.mark.usefixtures("remembered")
async def test_who_leaves_within_the_body_leaves_nothing_behind(
    mirror: RunningMirror, again: list[bytes], cache_folder: CacheFolder
) -> None:
    await mirror.metric("mirror_fills_in_flight")
    before = open_descriptors()
    with capture_logs() as lines:
        for _ in range(5):
            async with raw_client(mirror, TINY) as client:
                await begin(client)
                client.reset()
        await until(lambda: len(lines) == 5, "all have been told of")
    assert again == [ASKED] * 5
    assert all(0 < line["bytes"] < SIZE and "the client went away" in line["cause"] for line in lines)
    await until(lambda: open_descriptors() <= before, "nothing stays open")
    assert not mirror.mirror._cache.blobs._committed._leases


@pytest.mark.usefixtures("remembered")
async def test_who_closes_its_half_of_the_connection_within_the_body_is_cut_at_once(
    mirror: RunningMirror, again: list[bytes]
) -> None:
    with capture_logs() as lines:
        async with raw_client(mirror, TINY) as client:
            await begin(client)
            client._socket.shutdown(socket.SHUT_WR)
            await until(lambda: len(lines) == 1, "it was cut")
            assert len(await client.rest()) < SIZE
    assert [line["cause"] for line in lines] == ["cut: the client went away, or the mirror is stopping"]
    assert again == [ASKED]


@pytest.mark.usefixtures("remembered")
async def test_a_client_that_takes_nothing_is_cut(
    mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch, again: list[bytes]
) -> None:
    monkeypatch.setattr("mirror.server.outlet.STALL_SECONDS", 0.3)
    with capture_logs() as lines:
        async with raw_client(mirror, TINY) as client:
            await begin(client)
            await until(lambda: len(lines) == 1, "it was cut")
            received = await client.rest()
    assert BLOB.data.startswith(received)
    assert len(received) < SIZE
    assert "took nothing" in lines[0]["cause"]
    assert again == [ASKED]


@pytest.mark.usefixtures("remembered")
async def test_a_file_that_is_evicted_or_cut_between_two_requests_is_fetched_again(
    mirror: RunningMirror, cache_folder: CacheFolder, journal: Journal, again: list[bytes]
) -> None:
    file = cache_folder.file(BLOB.digest)
    async with raw_client(mirror) as client:
        for size in (5, None, SIZE + 1):
            file.chmod(0o644)
            file.unlink() if size is None else os.truncate(file, size)
            for status in ("mirror; fwd=miss; stored", "mirror; hit", "mirror; hit"):
                await client.send(ASKED)
                answer = await client.answer()
                assert (answer.head.headers["cache-status"], answer.body) == (status, BLOB.data)
                await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert journal.count("GET", PATH) == 4
    assert len(again) == 9


@pytest.mark.usefixtures("remembered")
async def test_a_length_is_never_promised_that_the_file_does_not_have(
    mirror: RunningMirror, cache_folder: CacheFolder, again: list[bytes]
) -> None:
    file = cache_folder.file(BLOB.digest)
    file.chmod(0o644)
    os.truncate(file, 5)
    # So that nobody knows how long it was.
    mirror.mirror._cache._index.remove(Digest.parse(BLOB.digest))
    async with raw_client(mirror) as client:
        await client.send(ASKED)
        answer = await client.answer()
    assert (answer.head.length, answer.whole) == (5, True)
    assert again == [ASKED]


@pytest.mark.usefixtures("remembered", "again")
async def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection_and_is_fetched_again(
    mirror: RunningMirror, cache_folder: CacheFolder
) -> None:
    with capture_logs() as lines:
        async with raw_client(mirror, TINY) as client:
            await begin(client)
            await client.send(request("/v2/"))
            begun = await client.exactly(MIB)
            file = cache_folder.file(BLOB.digest)
            file.chmod(0o644)
            os.truncate(file, SIZE - MIB)
            assert begun + await client.rest() == BLOB.data[: SIZE - MIB]
        await until(lambda: cache_folder.digests() == set(), "the file is gone")
    assert [(line["bytes"], line["cause"], line["outcome"]) for line in lines if line["event"] == "request"] == [
        (SIZE - MIB, "body cut: the file is shorter than it was", "error")
    ]
    async with raw_client(mirror) as client:
        await client.send(ASKED)
        assert (await client.answer()).head.headers["cache-status"] == "mirror; fwd=miss; stored"


@pytest.mark.usefixtures("remembered")
async def test_without_a_descriptor_it_is_answered_the_usual_way(
    mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch, again: list[bytes]
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with raw_client(mirror) as client:
        with monkeypatch.context() as patch:
            patch.setattr(folder_module, "open_at_once", refuse)
            patch.setattr(Folder, "open", refuse)
            await client.send(ASKED)
            assert (await client.answer()).head.status == 503
        await client.send(ASKED)
        assert (await client.answer()).body == BLOB.data
    assert again == [ASKED] * 2


async def test_a_stop_waits_for_it_and_closes_behind_it(
    start_mirror: StartMirror, registry: FakeRegistry, again: list[bytes]
) -> None:
    async with start_mirror() as mirror:
        await remember(mirror, registry, BLOB)
        async with raw_client(mirror, TINY) as client:
            await begin(client)
            await mirror.mirror.public.stop_accepting()
            finished = asyncio.create_task(mirror.mirror._requests.finished())
            await client.send(ASKED)
            begun = await client.exactly(SIZE // 4)
            assert not finished.done()
            assert begun + await client.exactly(SIZE - len(begun)) == BLOB.data
            assert await client.rest() == b""
            await finished
    assert again == [ASKED]


async def test_a_stop_cuts_it_when_the_time_is_over(
    start_mirror: StartMirror, registry: FakeRegistry, again: list[bytes]
) -> None:
    with capture_logs() as lines:
        async with start_mirror(drain_timeout="100ms") as mirror:
            await remember(mirror, registry, BLOB)
            lines.clear()
            stack = raw_client(mirror, TINY)
            client = await stack.__aenter__()
            await begin(client)
        assert BLOB.data.startswith(await client.rest())
        await stack.__aexit__(None, None, None)
    assert again == [ASKED]
    assert [line["cause"] for line in lines if line["event"] == "request"] == [
        "cut: the client went away, or the mirror is stopping"
    ]


@pytest.mark.usefixtures("remembered")
async def test_a_connection_is_not_idle_while_its_body_goes_out(mirror: RunningMirror, again: list[bytes]) -> None:
    server = mirror.mirror.public._runner.server
    assert server is not None
    async with raw_client(mirror, TINY) as client:
        await begin(client)
        [connection] = [one for one in server.connections if isinstance(one, AnsweringConnection) and one._sending]
        assert connection not in connection._admission._idle
        # As if the body had taken longer than a connection may be idle.
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        assert await client.exactly(SIZE) == BLOB.data
        await until(lambda: connection in connection._admission._idle, "it is idle")
        await client.send(ASKED)
        assert (await client.answer()).body == BLOB.data
    assert again == [ASKED] * 2
