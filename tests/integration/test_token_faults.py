"""The fault catalogue of token services, row by row: before a fill a clean error, within it a pause, and no herd."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mirror.proxy.fills.turns import MOST_AT_ONCE
from mirror.store.memory import BoundedMemory
from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth
from tests.fakes.faults import both
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.aftermath import Aftermath, ask_pipelined, unharmed
from tests.integration.asking import error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
SIZE = 3 * MIB + 3
CUT = 2 * MIB
BLOB = content.blob(SIZE)
PATH = f"/v2/library/alpine/blobs/{BLOB.digest}"
REST = f"bytes={CUT}-"

pytestmark = pytest.mark.usefixtures("quick_retries", "forgetful")


@pytest.fixture(autouse=True)
def protected(registry: FakeRegistry, token_service: FakeTokenService) -> None:
    """A blob for which a token is wanted."""
    registry.put_blob("library/alpine", BLOB)
    registry.auth = TokenAuth(token_service)


@pytest.fixture
async def aftermath(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> AsyncIterator[Aftermath]:
    async with unharmed(mirror, registry, cache_folder) as after:
        registry.journal.clear()
        yield after


def token(text: object) -> Fault:
    """A token service whose token is this."""

    def spoil(answer: Answer) -> Answer:
        return replace(answer, body=json.dumps({"token": text}).encode())

    return spoil


def redirect(location: str) -> Fault:
    """A token service that sends its clients elsewhere."""
    return both(faults.status(302), faults.header("Location", location))


TROUBLES: dict[str, tuple[Fault, int]] = {
    "T1 500": (faults.status(500), 502),
    "T1 503": (faults.status(503), 502),
    "T1 429": (faults.status(429, 1), 503),
    "T1 no answer in time": (faults.hold(Gate()), 504),
    "T1 an answer that drips": (faults.slow(1, 0.2), 504),
    "T1 a connection closed without an answer": (faults.dropped, 502),
    "T2 nothing": (faults.other_body(b""), 502),
    "T2 no JSON": (faults.html, 502),
    "T2 no object": (faults.other_body(b'["token"]'), 502),
    "T2 no token": (faults.other_body(b"{}"), 502),
    "T2 10 MB": (faults.other_body(b" " * 10 * MIB), 502),
    "T2 endless": (faults.endless, 502),
    "T2 a line break in it": (token("a\r\nX-Evil: 1"), 502),
    "T2 a number": (token(5), 502),
    "T2 half an answer": (faults.short_body(5), 502),
    "T2 compressed": (faults.gzip_encoded, 502),
    "T7 a redirect with a password": (redirect("http://user:secret@127.0.0.1/token"), 502),
    "T7 a redirect to what is not HTTP": (redirect("gopher://127.0.0.1/token"), 502),
    "a refusal": (faults.status(403), 403),
}
"""What a token service does, and what a client of a cold blob gets."""

TABLE = pytest.mark.parametrize(("fault", "expected"), TROUBLES.values(), ids=TROUBLES)


@pytest.mark.usefixtures("forgetful")
@TABLE
async def test_before_a_fill_it_is_a_clean_error(
    request: pytest.FixtureRequest,
    token_service: FakeTokenService,
    journal: Journal,
    mirror: RunningMirror,
    aftermath: Aftermath,
    fault: Fault,
    expected: int,
) -> None:
    if expected == 504:
        # Only then: whatever else is wrong is to be found out however long it takes.
        request.getfixturevalue("impatient")
    token_service.always("*", fault)
    answers = await asyncio.gather(*(ask_pipelined(mirror, PATH) for _ in range(5)))
    assert [(answer.head.status, answer.whole) for answer in answers] == [(expected, True)] * 5
    assert all(error_code(answer.body) for answer in answers)
    assert journal.count("GET", PATH, authorization="bearer") == 0
    token_service.heal()
    if expected == 403:
        return
    async with asyncio.timeout(45):
        # Who comes while the service is being asked still waits for that answer.
        while (answer := await ask_pipelined(mirror, PATH)).head.status == 504:  # noqa: ASYNC110  # a request to make
            await asyncio.sleep(0.05)
    assert answer.body == BLOB.data


async def cut_when_on_disk(registry: FakeRegistry, folder: CacheFolder, gate: Gate) -> None:
    """Let the connection break and the token end, once the mirror has what came before."""
    await gate.reached()
    partial = folder.partial(BLOB.digest)
    await until(lambda: partial.exists() and partial.stat().st_size >= CUT, "it is on disk")
    registry.revoke_tokens()
    gate.open()


@pytest.mark.usefixtures("impatient")
@TABLE
async def test_within_a_fill_it_is_a_pause(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    fault: Fault,
    expected: int,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(faults.stop_at(CUT, gate), faults.cut_at(CUT)))
    readers = [asyncio.create_task(ask_pipelined(mirror, PATH)) for _ in range(3)]
    await gate.reached()
    # From here on tokens are hard to come by.
    token_service.fault("*", fault)
    await cut_when_on_disk(registry, cache_folder, gate)
    for answer in await asyncio.gather(*readers):
        assert (answer.whole, answer.body == BLOB.data) == (True, True)
    assert [(entry.range, entry.sent) for entry in journal.select("GET", PATH, status=206)] == [(REST, SIZE - CUT)]
    assert token_service.script.unused() == []


async def test_a_service_that_stays_in_trouble_costs_the_rest_of_the_body_and_no_byte_of_it(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(faults.stop_at(CUT, gate), faults.cut_at(CUT)))
    reader = asyncio.create_task(ask_pipelined(mirror, PATH))
    await gate.reached()
    token_service.always("*", faults.status(500))
    await cut_when_on_disk(registry, cache_folder, gate)
    answer = await reader
    assert (answer.head.status, answer.whole, answer.body) == (200, False, BLOB.data[:CUT])
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    journal.clear()
    token_service.heal()
    assert (await ask_pipelined(mirror, PATH)).body == BLOB.data
    assert [(entry.range, entry.sent) for entry in journal.select("GET", PATH, status=206)] == [(REST, SIZE - CUT)]


async def test_a_token_that_ends_does_not_disturb_the_body_that_is_on_its_way(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder, aftermath: Aftermath
) -> None:
    # T4.
    gate = Gate()
    registry.fault(PATH, faults.stop_at(CUT, gate))
    reader = asyncio.create_task(ask_pipelined(mirror, PATH))
    await cut_when_on_disk(registry, cache_folder, gate)
    assert (await reader).body == BLOB.data
    assert journal.count("GET", PATH, status=200) == 1


async def test_any_number_of_pulls_ask_a_service_in_trouble_once(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    joins: Joins,
    mirror: RunningMirror,
) -> None:
    # T1. As many as are fetched at a time.
    blobs = [content.blob(64, number) for number in range(MOST_AT_ONCE)]
    for blob in blobs:
        registry.put_blob("library/alpine", blob)
    gate = Gate()
    token_service.always("*", both(faults.status(500), faults.hold(gate)))
    paths = [f"/v2/library/alpine/blobs/{blob.digest}" for blob in blobs]
    pulls = [asyncio.create_task(mirror.get(path)) for path in paths]
    await joins.reach(MOST_AT_ONCE)
    await gate.reached()
    await until(lambda: registry.journal.count(host="registry", status=401) == MOST_AT_ONCE, "all have been challenged")
    gate.open()
    assert {response.status for response, _ in await asyncio.gather(*pulls)} == {502}
    assert token_service.requests() <= 2


async def test_tokens_of_any_number_of_repositories_take_so_much_memory_and_no_more(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # T10.
    tokens = BoundedMemory(characters=20_000)
    monkeypatch.setattr("mirror.app.BoundedMemory", lambda: tokens)
    token_service.suffix = "x" * 1500
    async with start_mirror() as mirror:
        blobs = [content.blob(64, number) for number in range(40)]
        for number, blob in enumerate(blobs):
            registry.put_blob(f"owner/app{number}", blob)
            path = f"/v2/owner/app{number}/blobs/{blob.digest}"
            assert (await mirror.get(path))[1] == blob.data
            assert sum(len(key) + len(value) for key, value in tokens._cache.items()) <= 20_000
        assert token_service.requests() == 40
        # Whose token made room gets another one; whose is still there needs none.
        for number, asked in ((39, 40), (0, 41)):
            registry.put_blob(f"owner/app{number}", BLOB)
            assert (await mirror.get(f"/v2/owner/app{number}/blobs/{BLOB.digest}"))[0].status == 200
            assert token_service.requests() == asked
