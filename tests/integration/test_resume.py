"""Resume: whatever ends a transfer early, its readers see a pause and upstream sends no byte twice that it need not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes import content, range_faults
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.content import FakeBlob
from tests.fakes.faults import (
    both,
    chunked,
    cut_at,
    cut_every,
    drip_from,
    dropped,
    gzip_encoded,
    header,
    hold,
    html,
    repeated_header,
    short_body,
    status,
    stop_at,
    until_close,
    wrong_bytes,
)
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.aftermath import UNRELATED, Aftermath, ask_pipelined, unharmed
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.raw_http import RawAnswer, raw_client
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
HOLD_BACK = 64 * 1024
SIZE = 3 * MIB + 3
CUT = 2 * MIB
"""Where the transfer ends: what comes before it is on disk then."""

BLOB = content.blob(SIZE)
OTHER = content.blob(SIZE, "other")
PATH = f"/v2/library/alpine/blobs/{BLOB.digest}"
ETAG = f'"{BLOB.digest}"'
REST = f"bytes={CUT}-"
RESUMES = 'mirror_fill_resumes_total{upstream="docker.io"}'
UPSTREAM_BYTES = 'mirror_upstream_bytes_total{upstream="docker.io"}'

pytestmark = pytest.mark.usefixtures("quick_retries", "hasty")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall and a drip are noticed within a moment."""
    monkeypatch.setattr("mirror.proxy.fills.supply.STALL_SECONDS", 0.4)
    monkeypatch.setattr("mirror.proxy.fills.retry.PACE_SECONDS", 0.3)


@pytest.fixture(autouse=True)
def blob(registry: FakeRegistry) -> FakeBlob:
    registry.put_blob("library/alpine", BLOB)
    return BLOB


@pytest.fixture
async def aftermath(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> AsyncIterator[Aftermath]:
    async with unharmed(mirror, registry, cache_folder) as after:
        registry.journal.clear()
        yield after


def asked(journal: Journal, host: str | None = None) -> list[tuple[str | None, str | None]]:
    """What was asked for of the blob, one pair of Range and If-Range a request."""
    return [(entry.range, entry.if_range) for entry in journal.select("GET", f"*{BLOB.digest}", host=host)]


async def on_disk(folder: CacheFolder, size: int = CUT) -> None:
    """Wait until so many bytes have been written."""
    partial = folder.partial(BLOB.digest)
    await until(lambda: partial.exists() and partial.stat().st_size >= size, f"{size} bytes are on disk")


def is_right(answer: RawAnswer) -> bool:
    return answer.whole and answer.head.status == 200 and answer.body == BLOB.data


def is_cut(answer: RawAnswer) -> bool:
    """Tell whether a client knows that it has not got the blob; what was on disk, it has as it was."""
    if answer.head.status == 200:
        begun = answer.body[:CUT]
        return not answer.whole and BLOB.data.startswith(begun) and len(answer.body) <= SIZE - HOLD_BACK
    return answer.head.status in {502, 504} and answer.whole


async def once_on_disk(folder: CacheFolder, gate: Gate) -> None:
    """Let go on what stands before the gate, when the mirror has all that came before."""
    await gate.reached()
    await on_disk(folder)
    gate.open()


# How a transfer ends. --------------------------------------------------------------------------------------

ENDS: dict[str, Fault] = {
    "U1 a reset": cut_at(CUT),
    "U5 an end in order, too early": short_body(CUT),
    "U3 a stall": stop_at(CUT, Gate()),
    "a drip": drip_from(CUT, 0.02),
    "U9 a reset within chunks": both(chunked, cut_at(CUT)),
    "an end in order within chunks": both(chunked, short_body(CUT)),
    "an end of what only its end delimits": both(until_close, short_body(CUT)),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_transfer_that_ends_early_goes_on_where_it_stopped(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    end: Fault,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), end), method="GET")

    readers = [asyncio.create_task(ask_pipelined(mirror, PATH)) for _ in range(5)]
    await once_on_disk(cache_folder, gate)
    answers = await asyncio.gather(*readers)

    assert all(map(is_right, answers))
    (first, second) = journal.select("GET", PATH)
    assert (first.range, second.if_range) == (None, ETAG)
    # Of a drip, some drops may have come beside.
    assert second.range is not None
    assert CUT <= int(second.range.removeprefix("bytes=").removesuffix("-")) <= CUT + 100
    assert journal.body_bytes(PATH) <= SIZE + 100
    assert await mirror.metric(RESUMES) == 1


async def test_two_cuts_cost_next_to_nothing(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, aftermath: Aftermath
) -> None:
    large = content.blob(32 * MIB, "large")
    path = f"/v2/library/alpine/blobs/{large.digest}"
    registry.put_blob("library/alpine", large)
    registry.fault(path, cut_at(10 * MIB), cut_at(12 * MIB))

    answer = await ask_pipelined(mirror, path)

    assert (answer.whole, answer.body == large.data) == (True, True)
    assert journal.count("GET", path) == 3
    assert journal.body_bytes(path) <= 1.05 * large.size


async def test_progress_earns_further_resumes(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    aftermath: Aftermath,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.proxy.fills.retry.EARNED_BY", 100_000)
    registry.always(PATH, cut_every(300_000))
    assert is_right(await ask_pipelined(mirror, PATH))
    assert journal.count("GET", PATH) > 6


# What the pause is to readers. -----------------------------------------------------------------------------


async def test_who_comes_during_the_pause_has_what_is_there(
    registry: FakeRegistry,
    journal: Journal,
    joins: Joins,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
) -> None:
    cut, pause = Gate(), Gate()
    registry.fault(PATH, both(stop_at(CUT, cut), cut_at(CUT)), hold(pause))
    first = asyncio.create_task(ask_pipelined(mirror, PATH))
    await once_on_disk(cache_folder, cut)
    await pause.reached()

    async with raw_client(mirror) as late, raw_client(mirror) as near, raw_client(mirror) as far:
        await late.ask(PATH)
        await near.ask(PATH, Range=f"bytes={CUT - 100_000}-{CUT + 99_999}")
        await far.ask(PATH, Range="bytes=-10")
        heads = [await client.head() for client in (late, near, far)]
        assert [(head.status, head.length) for head in heads] == [(200, SIZE), (206, 200_000), (206, 10)]
        begun = await late.exactly(CUT)
        assert begun == BLOB.data[:CUT]
        assert await near.exactly(100_000) == BLOB.data[CUT - 100_000 : CUT]
        for client in (late, near, far):
            assert await client.nothing_comes(0.05)
        pause.open()
        assert begun + await late.exactly(SIZE - CUT) == BLOB.data
        assert await near.exactly(100_000) == BLOB.data[CUT : CUT + 100_000]
        assert await far.exactly(10) == BLOB.data[-10:]
        for client in (late, near, far):
            await client.ask("/v2/")
            assert (await client.answer()).body == b"{}"
    assert is_right(await first)
    assert asked(journal) == [(None, None), (REST, ETAG)]
    assert journal.body_bytes(PATH) == SIZE


async def test_a_small_blob_is_still_verified_before_its_head(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, aftermath: Aftermath
) -> None:
    small = content.blob(300_000, "small")
    path = f"/v2/library/alpine/blobs/{small.digest}"
    registry.put_blob("library/alpine", small)
    cut, pause = Gate(), Gate()
    registry.fault(path, both(stop_at(100_000, cut), short_body(100_000)), hold(pause))
    async with raw_client(mirror) as client:
        await client.ask(path)
        await cut.reached()
        await until_metric(mirror, UPSTREAM_BYTES, UNRELATED.size + 100_000)
        cut.open()
        await pause.reached()
        assert await client.nothing_comes(0.05)
        pause.open()
        assert (await client.answer()).body == small.data
    assert [entry.range for entry in journal.select("GET", path)] == [None, "bytes=100000-"]


# What comes instead of the rest. ---------------------------------------------------------------------------


ANEW: dict[str, tuple[Fault, int]] = {
    "R8 the range ignored": (range_faults.ignored, 2),
    "R8 another object, which nobody noticed": (range_faults.replaced_unnoticed(OTHER.data), 3),
    "R8 another, shorter object, which nobody noticed": (range_faults.replaced_unnoticed(OTHER.data[:-5]), 3),
    "U38 a part that begins too early": (range_faults.other_part(CUT - 1), 3),
    "U38 a part that begins too late": (range_faults.other_part(CUT + 1), 3),
    "U38 a part that ends too early": (range_faults.other_part(CUT, SIZE - 2), 3),
    "U38 a part of an object of another length": (header("Content-Range", f"bytes {CUT}-{SIZE - 1}/{SIZE + 1}"), 3),
    "U38 a part that is not what it says": (header("Content-Range", f"bytes 0-{SIZE - CUT - 1}/{SIZE}"), 3),
    "U38 a part that does not say": (header("Content-Range", None), 3),
    "U38 a part that says nonsense": (header("Content-Range", "bytes some-of/them"), 3),
    "U38 a part that says it twice": (repeated_header("Content-Range", f"bytes 0-1/{SIZE}"), 3),
    "a part in parts": (range_faults.multipart, 3),
    "416": (range_faults.unsatisfiable, 3),
}
"""What is answered to the range, and the requests that it takes: where there is no rest to be had, the whole is."""


@pytest.mark.parametrize(("answer", "requests"), ANEW.values(), ids=ANEW)
async def test_an_object_that_comes_anew_is_compared_and_goes_on(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    answer: Fault,
    requests: int,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)), answer)

    readers = [asyncio.create_task(ask_pipelined(mirror, PATH)) for _ in range(3)]
    await once_on_disk(cache_folder, gate)

    assert all(map(is_right, await asyncio.gather(*readers)))
    assert asked(journal) == [(None, None), (REST, ETAG), (None, None)][:requests]
    # What was refused unread may have been on its way already.
    assert journal.body_bytes(PATH) <= CUT + 2 * SIZE


OTHERS: dict[str, Fault] = {
    "R8 another object under another tag": range_faults.replaced(OTHER.data),
    "R8 one that differs in what is on disk": both(range_faults.ignored, wrong_bytes(0)),
    "R8 one that differs in the last byte on disk": both(range_faults.ignored, wrong_bytes(CUT - 1)),
    "R8 one that differs in what was missing": both(range_faults.ignored, wrong_bytes(CUT)),
    "U10 a rest with a wrong byte": wrong_bytes(0),
    "U10 a rest whose last byte is wrong": wrong_bytes(-1),
}


@pytest.mark.parametrize("answer", OTHERS.values(), ids=OTHERS)
async def test_bytes_of_two_objects_never_meet_in_one_body(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    answer: Fault,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)), answer)

    readers = [asyncio.create_task(ask_pipelined(mirror, PATH)) for _ in range(3)]
    await once_on_disk(cache_folder, gate)
    for one in await asyncio.gather(*readers):
        assert one.head.status == 200
        assert is_cut(one)
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert BLOB.digest not in cache_folder.digests()
    assert cache_folder.partials() == []
    assert await mirror.metric('mirror_digest_mismatches_total{upstream="docker.io"}') == 1

    journal.clear()
    assert is_right(await ask_pipelined(mirror, PATH))
    assert asked(journal) == [(None, None)]


PASSING: dict[str, Fault] = {
    "no answer": dropped,
    "cut at once": cut_at(0),
    "401": status(401),
    "403": status(403),
    "404": status(404),
    "U25 429": status(429, 1),
    "U26 500": status(500),
    "U26 503": status(503),
    "400": status(400),
    "204": status(204),
    "U13 a log-in page": html,
    "encoded": gzip_encoded,
    "another length": range_faults.replaced(OTHER.data[:-1]),
}


@pytest.mark.parametrize("answer", PASSING.values(), ids=PASSING)
async def test_an_answer_that_is_no_rest_is_asked_for_again(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    answer: Fault,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)), answer)

    readers = [asyncio.create_task(ask_pipelined(mirror, PATH)) for _ in range(3)]
    await once_on_disk(cache_folder, gate)

    assert all(map(is_right, await asyncio.gather(*readers)))
    assert asked(journal)[:3] == [(None, None), (REST, ETAG), (REST, ETAG)]
    assert journal.count("GET", PATH) <= 4


# Elsewhere. ------------------------------------------------------------------------------------------------


async def test_a_signed_address_that_has_expired_is_asked_for_anew(
    registry: FakeRegistry,
    cdn: FakeCDN,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
) -> None:
    # R4: the address works once; whoever asks there again gets 403.
    cdn.single_use = True
    registry.redirect_blobs(cdn)
    gate = Gate()
    cdn.fault("*", both(stop_at(CUT, gate), cut_at(CUT)))
    reader = asyncio.create_task(ask_pipelined(mirror, PATH))
    await once_on_disk(cache_folder, gate)
    assert is_right(await reader)
    first, second = journal.select("GET", host="cdn")
    assert [entry.status for entry in journal.select("GET", host="cdn")] == [200, 206]
    assert (second.range, second.if_range is not None) == (REST, True)
    assert first.query != second.query
    assert journal.count("GET", PATH, host="registry") == 2
    assert journal.body_bytes(host="cdn") == SIZE


async def test_an_address_that_expires_before_it_is_used_is_asked_for_anew(
    registry: FakeRegistry, cdn: FakeCDN, journal: Journal, mirror: RunningMirror, cache_folder: CacheFolder
) -> None:
    registry.redirect_blobs(cdn)
    gate = Gate()
    cdn.fault("*", both(stop_at(CUT, gate), cut_at(CUT)), status(403), status(403))
    reader = asyncio.create_task(ask_pipelined(mirror, PATH))
    await once_on_disk(cache_folder, gate)
    assert is_right(await reader)
    assert [entry.status for entry in journal.select("GET", host="cdn")] == [200, 403, 403, 206]
    assert journal.count("GET", PATH, host="registry") == 4


@pytest.mark.parametrize("revoked", [True, False])
async def test_a_token_that_ends_during_a_fill_is_renewed(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    revoked: bool,
) -> None:
    # T4.
    registry.auth = TokenAuth(token_service)
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)), method="GET")
    reader = asyncio.create_task(ask_pipelined(mirror, PATH))
    await gate.reached()
    await on_disk(cache_folder)
    if revoked:
        registry.revoke_tokens()
    else:
        token_service.advance(1000)
    gate.open()
    assert is_right(await reader)
    assert token_service.requests() == 2
    assert [entry.status for entry in journal.select("GET", PATH)] == [401, 200, 401, 206]
    assert journal.body_bytes(PATH, host="registry") - SIZE < 1000
    # The aftermath asks another repository, which needs a token of its own.


@pytest.fixture
async def two_endpoints(
    start_mirror: StartMirror, registry: FakeRegistry, other_registry: FakeRegistry
) -> AsyncIterator[RunningMirror]:
    other_registry.put_blob("library/alpine", BLOB)
    other_registry.etags = "other-"
    both_of_them = {"endpoints": [registry.url, other_registry.url], "private_network": True, "read_ahead": False}
    async with start_mirror(upstreams={"docker.io": both_of_them}) as running:
        yield running


async def test_the_next_endpoint_takes_over(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    journal: Journal,
    two_endpoints: RunningMirror,
    cache_folder: CacheFolder,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)))
    reader = asyncio.create_task(ask_pipelined(two_endpoints, PATH))
    await once_on_disk(cache_folder, gate)
    assert is_right(await reader)
    assert asked(journal, "registry") == [(None, None)]
    # It calls the object by another name, which is its own business.
    assert asked(journal, "other") == [(REST, None)]
    assert journal.body_bytes(PATH) == SIZE


@pytest.mark.parametrize("trouble", [status(404), status(500), hold(Gate())], ids=["404", "500", "silence"])
async def test_an_endpoint_that_cannot_go_on_is_passed_over(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    journal: Journal,
    two_endpoints: RunningMirror,
    cache_folder: CacheFolder,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Fault,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)))
    other_registry.always(PATH, trouble)
    reader = asyncio.create_task(ask_pipelined(two_endpoints, PATH))
    await gate.reached()
    monkeypatch.setattr("mirror.upstream.endpoints.FAILOVER_WITHIN", 0.3)
    await once_on_disk(cache_folder, gate)
    assert is_right(await reader)
    assert asked(journal, "registry") == [(None, None), (REST, ETAG)]
    assert journal.body_bytes(PATH, host="registry") == SIZE


async def test_an_endpoint_with_another_object_harms_nobody(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    two_endpoints: RunningMirror,
    cache_folder: CacheFolder,
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)))
    other_registry.put_blob("library/alpine", FakeBlob(BLOB.digest, OTHER.data))
    reader = asyncio.create_task(ask_pipelined(two_endpoints, PATH))
    await once_on_disk(cache_folder, gate)
    assert is_cut(await reader)
    assert is_right(await ask_pipelined(two_endpoints, PATH))


# When it does not help. ------------------------------------------------------------------------------------

LASTING: dict[str, Fault] = {
    "U2 a reset": cut_at(0),
    "an end in order": short_body(0),
    "a stall": stop_at(0, Gate()),
    "500": status(500),
    "no answer": dropped,
    "a log-in page": html,
}


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING)
async def test_a_fill_that_gives_up_is_gone_on_with_by_the_next_request(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    monkeypatch.setattr("mirror.proxy.fills.supply.STALL_SECONDS", 0.1)
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)))
    registry.always(PATH, fault)

    readers = [asyncio.create_task(ask_pipelined(mirror, PATH)) for _ in range(3)]
    await once_on_disk(cache_folder, gate)
    for answer in await asyncio.gather(*readers):
        assert is_cut(answer)
        assert len(answer.body) == CUT
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    assert await mirror.metric(RESUMES) == 5
    # aiohttp asks once more on its own where a kept connection was closed without an answer.
    assert 6 <= journal.count("GET", PATH) <= 12
    assert cache_folder.partials() == [cache_folder.partial(BLOB.digest).name]
    assert BLOB.digest not in cache_folder.digests()

    journal.clear()
    registry.heal()
    assert is_right(await ask_pipelined(mirror, PATH))
    assert [entry.range for entry in journal.select("GET", PATH)] == [REST]
    assert journal.body_bytes(PATH) == SIZE - CUT


async def test_a_fill_gives_up_when_nothing_has_come_for_too_long(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    aftermath: Aftermath,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.proxy.fills.retry.GIVE_UP_AFTER", 0.6)
    registry.fault(PATH, cut_at(CUT))
    registry.always(PATH, stop_at(0, Gate()))
    aftermath.unfinished = {BLOB.digest}
    assert is_cut(await ask_pipelined(mirror, PATH))
    assert journal.count("GET", PATH) <= 4


@pytest.mark.parametrize("refusal", [403, 404])
async def test_a_refusal_ends_a_fill_for_this_repository(
    registry: FakeRegistry, mirror: RunningMirror, cache_folder: CacheFolder, aftermath: Aftermath, refusal: int
) -> None:
    gate = Gate()
    registry.fault(PATH, both(stop_at(CUT, gate), cut_at(CUT)))
    registry.always(PATH, status(refusal))
    reader = asyncio.create_task(ask_pipelined(mirror, PATH))
    await once_on_disk(cache_folder, gate)
    assert is_cut(await reader)
    # The bytes are good, and another repository may go on with them.
    aftermath.unfinished = {BLOB.digest}
    assert (await ask_pipelined(mirror, PATH)).head.status == refusal
    assert cache_folder.partials() == [cache_folder.partial(BLOB.digest).name]
