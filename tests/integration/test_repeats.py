"""Requests that come again in the very same bytes: answered from memory, and never otherwise than all others are."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mirror.oci.digest import Digest
from mirror.oci.reference import Repository, Tag
from mirror.proxy.rate_limit import Spending
from mirror.proxy.routing import Route
from mirror.server.repeats.answering import AnsweringConnection
from mirror.server.repeats.repeats import Repeats
from mirror.store.records import StoredRecords
from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.given_again import again
from tests.integration.raw_http import RawClient, raw_client

REPOSITORY = "library/alpine"
ROUTE = Route("docker.io", Repository(REPOSITORY))
IMAGES = [content.image(layers=1, size=100 + number) for number in range(2)]
BLOBS = [IMAGES[0].layers[0], content.blob(0), content.blob(64 * 1024), content.blob(5 * 1024 * 1024)]
TAG = f"/v2/{REPOSITORY}/manifests/latest"
ACCEPT = f"Accept: {content.OCI_MANIFEST}\r\n"
HEAD = f"GET {TAG} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\n{ACCEPT}\r\n".encode()

__all__ = ["again"]


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    for number in range(2):
        registry.add_image(REPOSITORY, f"kept-{number}", IMAGES[number])
    registry.move_tag(REPOSITORY, "latest", IMAGES[0])
    for blob in BLOBS:
        registry.put_blob(REPOSITORY, blob)
    for name in ("gone", "unknown"):
        registry.absent(f"/v2/{REPOSITORY}/manifests/{name}")


# The same answers, whatever happens. -------------------------------------------------------------------------

_PATHS = [TAG, f"/v2/{REPOSITORY}/manifests/{IMAGES[0].digest}", f"/v2/{REPOSITORY}/manifests/{IMAGES[1].digest}"]
_OF_BLOBS = [f"/v2/{REPOSITORY}/blobs/{blob.digest}" for blob in BLOBS]
_ASKED = [
    *(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in _OF_BLOBS for method in ("GET", "HEAD")),
    f"GET {_OF_BLOBS[2]} HTTP/1.1\r\nHost: x\r\nRange: bytes=5-\r\n\r\n",
    f'GET {_OF_BLOBS[2]} HTTP/1.1\r\nHost: x\r\nRange: bytes=5-\r\nIf-Range: "other"\r\n\r\n',
    f'GET {_OF_BLOBS[2]} HTTP/1.1\r\nHost: x\r\nIf-None-Match: "{BLOBS[2].digest}"\r\n\r\n',
    *(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{ACCEPT}\r\n" for method in ("GET", "HEAD") for path in _PATHS),
    f'GET {TAG} HTTP/1.1\r\nHost: x\r\nIf-None-Match: "{IMAGES[0].digest}"\r\n\r\n',
    f'GET {TAG}?ns=docker.io HTTP/1.1\r\nHost: x\r\nIf-Match: "{IMAGES[0].digest}"\r\n\r\n',
    f"GET {TAG} HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n",
    "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /v2/library/alpine/manifests/gone HTTP/1.1\r\nHost: x\r\n\r\n",
]
_OFTEN = [*_ASKED[:8], *_ASKED[11:13]]


@dataclass
class Twin:
    """A mirror to which one seed makes the same happen as to any other."""

    running: RunningMirror
    registry: FakeRegistry
    seed: int
    now: list[float]
    folder: CacheFolder
    told: list[object] = field(default_factory=list)

    async def live(self) -> None:
        chance = random.Random(self.seed)
        rare = [self.set_clock, self.move, self.refresh, self.purge, self.lose, self.ungrant, self.spend, self.withdraw]
        rare += [self.lose_blob, self.spoil_blob]
        async with raw_client(self.running) as client:
            for happening in chance.choices([self.ask, self.ask_together, *rare], [35, 5, 3, *[1] * 9], k=130):
                await happening(chance, client)

    async def ask(self, chance: random.Random, client: RawClient) -> None:
        # Mostly the same ones: else nothing comes again.
        asked = chance.choice(_OFTEN if chance.random() < 0.5 else _ASKED)
        await client.send(asked.encode())
        answer = await client.answer(asked.partition(" ")[0])
        headers = {name: value for name, value in answer.head.headers.items() if name != "date"}
        self.told.append((asked, answer.head.status, headers, answer.body))
        for blob in BLOBS:
            # The last bytes may be had a little before the blob is stored.
            while self.running.mirror._pulls.blobs._filler.find(Digest.parse(blob.digest)):  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def ask_together(self, chance: random.Random, client: RawClient) -> None:
        """Ask for the same on several connections at once: all are read in one turn of the loop."""
        asked = chance.choice(_OFTEN[-2:] + _ASKED[13:16])
        async with AsyncExitStack() as stack:
            clients = [client, *[await stack.enter_async_context(raw_client(self.running)) for _ in range(3)]]
            for one in clients:
                await one.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            for one in clients:
                await one.answer()
            for one in clients:
                one.send_now(asked.encode())
            for one in clients:
                answer = await one.answer(asked.partition(" ")[0])
                self.told.append((asked, answer.head.status, answer.body))

    async def set_clock(self, chance: random.Random, _: RawClient) -> None:
        self.now[0] += chance.choice([1, 40, 400, -30, -4000])

    async def move(self, chance: random.Random, _: RawClient) -> None:
        self.registry.move_tag(REPOSITORY, "latest", chance.choice(IMAGES))

    async def purge(self, _: random.Random, __: RawClient) -> None:
        await self.running.session.delete(f"{self.running.admin_url}/api/v1/images/alpine:latest")

    async def lose(self, chance: random.Random, _: RawClient) -> None:
        await self.running.mirror._cache.blobs.remove(Digest.parse(chance.choice(IMAGES).digest))

    async def lose_blob(self, chance: random.Random, _: RawClient) -> None:
        await self.running.mirror._cache.blobs.remove(Digest.parse(chance.choice(BLOBS).digest))

    async def spoil_blob(self, chance: random.Random, _: RawClient) -> None:
        file, size = self.folder.file(chance.choice(BLOBS).digest), chance.choice([None, 3, 6 * 1024 * 1024])
        if file.exists():
            file.chmod(0o644)
            file.unlink() if size is None else os.truncate(file, size)

    async def refresh(self, _: random.Random, __: RawClient) -> None:
        await self.running.mirror._pulls.manifests.refresh(ROUTE, Tag("latest"))

    async def ungrant(self, _: random.Random, __: RawClient) -> None:
        records = self.running.mirror._cache.records
        await records.drop(lambda key: key.startswith("grant "))
        records._forget_content()

    async def spend(self, chance: random.Random, _: RawClient) -> None:
        spending = chance.choice([Spending.FREE, Spending.SAVING])
        self.running.mirror._budgets.spending = lambda upstream: spending  # type: ignore[method-assign]

    async def withdraw(self, chance: random.Random, _: RawClient) -> None:
        await self.running.mirror._visible.delete(f"docker.io/{REPOSITORY}")

    async def count(self) -> list[float]:
        series = (
            'kind="manifest",outcome="hit"',
            'kind="manifest",outcome="revalidated"',
            'kind="other",outcome="hit"',
            'kind="blob",outcome="hit"',
            'kind="blob",outcome="miss"',
        )
        names = (f"mirror_request_duration_seconds_count{{{labels}}}" for labels in series)
        return [await self._metric(name) for name in names]

    async def _metric(self, name: str) -> float:
        try:
            return await self.running.metric(name)
        except LookupError:
            return 0


@pytest.mark.parametrize("seed", range(6))
async def test_a_mirror_that_remembers_answers_as_one_that_does_not(
    registry: FakeRegistry,
    start_mirror: StartMirror,
    again: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    seed: int,
) -> None:
    async def keep(*_: object) -> None:
        return

    # Grants of what is not stored are forgotten now and then, in the background.
    monkeypatch.setattr(StoredRecords, "prune", keep)
    seen = []
    for remembers in (True, False):
        if not remembers:
            monkeypatch.setattr(Repeats, "find", lambda *_: None)
        registry.move_tag(REPOSITORY, "latest", IMAGES[0])
        now = [1_800_000_000.0]
        with capture_logs() as lines:
            async with start_mirror(
                clock=lambda now=now: now[0], cache={"path": str(tmp_path / str(remembers))}
            ) as one:
                twin = Twin(one, registry, seed, now, CacheFolder(tmp_path / str(remembers)))
                await twin.live()
                requests = [line for line in lines if line["event"] == "request"]
                told = [{key: line[key] for key in line if key != "seconds"} for line in requests]
                seen.append((twin.told, await twin.count(), told))
    assert again, "nothing came again"
    for one, other in zip(*seen, strict=True):
        assert one == other


async def test_a_repository_that_is_believed_to_be_public_no_more_is_asked_about(
    start_mirror: StartMirror, again: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    believed = [True]
    async with start_mirror() as mirror:
        monkeypatch.setattr(type(mirror.mirror._visibility), "is_believed", lambda *_: believed[0])
    async with start_mirror() as mirror, raw_client(mirror) as client:
        for _ in range(3):
            await client.send(HEAD)
            await client.answer()
        assert len(again) == 1
        believed[0] = False
        await client.send(HEAD)
        await client.answer()
        assert len(again) == 1


async def test_another_client_is_told_by_its_own_address_and_the_tag_is_noted(
    start_mirror: StartMirror, again: list[bytes]
) -> None:
    async with start_mirror() as mirror:
        for _ in range(3):
            async with raw_client(mirror) as client:
                await client.send(HEAD)
                await client.answer()
        with capture_logs() as lines:
            async with raw_client(mirror) as client:
                await client.send(HEAD)
                await client.answer()
        assert len(again) == 2
        assert [(line["client"], line["status"], line["user_agent"]) for line in lines] == [("127.0.0.1", 200, "test")]
        [(_, times)] = mirror.mirror._warming.requests._times.items()
        assert len(times) == 3


# Whatever bytes come. ----------------------------------------------------------------------------------------


async def _answers(client: RawClient, chunks: list[bytes], count: int) -> list[Any]:
    for chunk in chunks:
        await client.send(chunk)
    found = [await client.answer() for _ in range(count)]
    return [(one.head.status, one.body, one.whole) for one in found]


async def _remembering(mirror: RunningMirror) -> Any:
    """Make sure that what comes first is remembered."""
    async with raw_client(mirror) as client:
        for _ in range(3):
            [expected] = await _answers(client, [HEAD], 1)
        return expected


async def test_a_head_in_two_pieces_is_answered_wherever_it_is_split(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        expected = await _remembering(mirror)
        async with raw_client(mirror) as client:
            for at in range(1, len(HEAD)):
                assert await _answers(client, [HEAD[:at], HEAD[at:]], 1) == [expected]
                assert await _answers(client, [HEAD], 1) == [expected]


@pytest.mark.parametrize("times", [2, 3, 7])
async def test_what_is_sent_without_waiting_is_answered_in_order(start_mirror: StartMirror, times: int) -> None:
    other = HEAD.replace(b"latest", b"unknown")
    async with start_mirror() as mirror:
        expected = await _remembering(mirror)
        async with raw_client(mirror) as client:
            answers = await _answers(client, [(HEAD + other) * times, HEAD], 2 * times + 1)
    assert answers[::2] == [expected] * (times + 1)
    assert [status for status, _, _ in answers[1::2]] == [404] * times


_SMUGGLED = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("extra", "body"),
    [
        (f"Content-Length: {len(_SMUGGLED)}\r\n", _SMUGGLED),
        ("Content-Length: 0\r\n", b""),
        ("Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(_SMUGGLED), _SMUGGLED)),
        ("Connection: keep-alive\r\n", b""),
        ("Expect: 100-continue\r\n", b""),
        ("Upgrade: websocket\r\nConnection: upgrade\r\n", b""),
        ("CDN-Loop: other.example\r\n", b""),
    ],
    ids=["length", "no-length", "chunked", "connection", "expect", "upgrade", "cdn-loop"],
)
async def test_what_says_more_than_what_is_asked_for_is_never_remembered(
    start_mirror: StartMirror, again: list[bytes], extra: str, body: bytes
) -> None:
    head = HEAD.replace(b"Host:", f"{extra}Host:".encode())
    async with start_mirror() as mirror:
        for chunks in ([head + body], [head, body] if body else [head]):
            for _ in range(2):
                async with raw_client(mirror) as client:
                    for chunk in chunks:
                        await client.send(chunk)
                    head_of_answer = await client.head()
                    while head_of_answer.status == 100:
                        head_of_answer = await client.head()
                    assert head_of_answer.status == 200
        assert again == []


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1\r\nConnection: close"])
async def test_what_ends_its_connection_is_never_remembered(
    start_mirror: StartMirror, again: list[bytes], version: bytes
) -> None:
    async with start_mirror() as mirror:
        for _ in range(3):
            async with raw_client(mirror) as client:
                await client.send(HEAD.replace(b"HTTP/1.1", version))
                assert (await client.answer()).head.status == 200
                assert await client.rest() == b""
        assert again == []


async def test_who_asks_again_before_the_usual_way_has_come_to_its_end_is_given_the_answer_again(
    start_mirror: StartMirror, again: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_mirror() as mirror:
        expected = await _remembering(mirror)
        finish = AnsweringConnection.finish_response

        async def finish_and_ask(connection: AnsweringConnection, *arguments: Any) -> Any:
            finished = await finish(connection, *arguments)
            connection.data_received(HEAD)
            return finished

        monkeypatch.setattr(AnsweringConnection, "finish_response", finish_and_ask)
        async with raw_client(mirror) as client:
            seen = len(again)
            [_, second] = await _answers(client, [HEAD.replace(b"latest", b"kept-1")], 2)
            assert second == expected
            assert again[seen:] == [HEAD]


async def test_a_body_that_comes_behind_the_answer_is_no_request(start_mirror: StartMirror) -> None:
    async with start_mirror() as mirror:
        expected = await _remembering(mirror)
        async with raw_client(mirror) as client:
            await _answers(client, [_SMUGGLED], 1)
            await _answers(client, [_SMUGGLED], 1)
            length = f"Content-Length: {len(_SMUGGLED)}\r\nHost:".encode()
            assert await _answers(client, [HEAD.replace(b"Host:", length)], 1) == [expected]
            assert await _answers(client, [_SMUGGLED, HEAD], 1) == [expected]


async def test_a_connection_on_which_nobody_was_answered_but_again_does_not_stay_for_ever(
    start_mirror: StartMirror, again: list[bytes]
) -> None:
    async with start_mirror() as mirror:
        expected = await _remembering(mirror)
        seen, server = len(again), mirror.mirror.public._runner.server
        assert server is not None
        server._kwargs["keepalive_timeout"] = 0.01
        async with raw_client(mirror) as client:
            assert await _answers(client, [HEAD], 1) == [expected]
            assert await client.ended()
        assert len(again) == seen + 1


async def test_a_stop_answers_nobody_again(start_mirror: StartMirror, again: list[bytes]) -> None:
    async with start_mirror() as mirror:
        await _remembering(mirror)
        async with raw_client(mirror) as client:
            await _answers(client, [HEAD], 1)
            seen = len(again)
            await mirror.mirror.public.stop_accepting()
            await client.send(HEAD)
            assert await client.rest() == b""
    assert len(again) == seen


async def test_a_farewell_is_said_to_those_who_ask_again(
    start_mirror: StartMirror, again: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.listener.FAREWELL_SECONDS", 3600)
    async with start_mirror() as mirror:
        await _remembering(mirror)
        async with raw_client(mirror) as client:
            await _answers(client, [HEAD], 1)
            seen = len(again)
            farewell = asyncio.create_task(mirror.mirror.public.say_farewell())
            await asyncio.sleep(0)
            await client.send(HEAD)
            answer = await client.answer()
            assert (answer.head.status, answer.head.headers["connection"]) == (200, "close")
            assert await client.rest() == b""
        farewell.cancel()
    assert len(again) == seen
