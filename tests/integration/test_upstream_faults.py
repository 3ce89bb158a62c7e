"""The fault catalogue of upstreams, row by row: what a client sees, what upstream is asked, that nothing is left."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from mirror.store.partial import Partial
from tests.fakes import content, faults
from tests.fakes.faults import both
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.integration.aftermath import UNRELATED, Aftermath, ask_pipelined, unharmed
from tests.integration.asking import error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror
from tests.integration.joins import Joins
from tests.integration.paths import path_of
from tests.integration.raw_http import RawAnswer
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
HOLD_BACK = 64 * 1024
SMALL = content.blob(300_000, "small")
LARGE = content.blob(3 * MIB + 3, "large")
IMAGE = content.image(layers=1)
TAG = "/v2/library/alpine/manifests/1.0"
DIGEST = f"/v2/library/alpine/manifests/{IMAGE.digest}"

pytestmark = pytest.mark.usefixtures("quick_retries", "hasty", "forgetful")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that says nothing is given up within a moment, before and within a body."""
    monkeypatch.setattr("mirror.upstream.egress.SILENCE_SECONDS", 0.5)
    monkeypatch.setattr("mirror.proxy.fills.supply.STALL_SECONDS", 0.3)


@pytest.fixture(autouse=True)
def upstream(registry: FakeRegistry) -> None:
    registry.add_image("library/alpine", "1.0", IMAGE)
    for blob in (SMALL, LARGE):
        registry.put_blob("library/alpine", blob)


@pytest.fixture
async def aftermath(
    hasty: None, mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> AsyncIterator[Aftermath]:
    async with unharmed(mirror, registry, cache_folder) as after:
        registry.journal.clear()
        yield after


CLIENTS = 5

WHOLE = 200
CUT = 0
"""How a body ends that is not whole, where a status stands for what a client sees."""


def seen(answer: RawAnswer, blob: content.FakeBlob) -> int:
    """What a client sees: WHOLE, CUT, or the status of a clean error. Fails for anything else."""
    if answer.head.status == 200 and answer.whole:
        assert answer.body == blob.data
        return WHOLE
    if answer.head.status == 200:
        assert len(answer.body) <= max(0, blob.size - HOLD_BACK)
        return CUT
    assert answer.whole
    assert error_code(answer.body)
    return answer.head.status


# Blobs. ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A fault in the first answer, or in all: what becomes of a small blob and of a large one, after how many GETs
    (at most so many where the fault lasts).

    A large blob that is wrong may be refused as well as cut, if that shows before its first byte could leave.
    """

    fault: Fault
    small: tuple[int, int]
    large: tuple[int, int]
    lasting: bool = False


BLOBS: dict[str, Row] = {
    "U1 a reset": Row(faults.cut_at(100_000), (WHOLE, 2), (WHOLE, 2)),
    "U1 a reset before the body": Row(faults.cut_at(0), (WHOLE, 2), (WHOLE, 2)),
    "U1 a reset before the last byte": Row(faults.cut_at(LARGE.size - 1), (WHOLE, 1), (WHOLE, 2)),
    "U2 always a reset": Row(faults.cut_at(0), (502, 6), (CUT, 6), lasting=True),
    "U3 a stall": Row(faults.stop_at(100_000, Gate()), (WHOLE, 2), (WHOLE, 2)),
    "U3 always a stall": Row(faults.stop_at(0, Gate()), (504, 6), (CUT, 6), lasting=True),
    "U4 no first byte": Row(faults.hold(Gate()), (504, 1), (504, 1)),
    "U5 a short body": Row(faults.short_body(100_000), (WHOLE, 2), (WHOLE, 2)),
    "U5 a body short by one byte": Row(faults.short_body(SMALL.size - 1), (WHOLE, 2), (WHOLE, 2)),
    "U5 always more declared than there is": Row(
        faults.declared_length(SMALL.size + 1), (502, 11), (502, 2), lasting=True
    ),
    "U7 truncated at the origin": Row(faults.truncated(200_000), (WHOLE, 2), (WHOLE, 2)),
    "U7 truncated at the origin to more than a small blob": Row(faults.truncated(2 * MIB), (WHOLE, 1), (CUT, 1)),
    "U7 always truncated at the origin": Row(faults.truncated(200_000), (502, 2), (502, 2), lasting=True),
    "U9 chunks": Row(faults.chunked, (WHOLE, 1), (WHOLE, 1), lasting=True),
    "U9 a reset within chunks": Row(both(faults.chunked, faults.cut_at(100_000)), (WHOLE, 2), (WHOLE, 2)),
    "U9 truncated within chunks": Row(both(faults.chunked, faults.truncated(100_000)), (WHOLE, 2), (WHOLE, 2)),
    "U10 a wrong byte": Row(faults.wrong_bytes(), (WHOLE, 2), (CUT, 1)),
    "U10 a wrong last byte": Row(faults.wrong_bytes(-1), (WHOLE, 2), (CUT, 1)),
    "U10 always a wrong byte": Row(faults.wrong_bytes(), (502, 2), (CUT, 1), lasting=True),
    "U13 a log-in page": Row(faults.html, (WHOLE, 2), (WHOLE, 2)),
    "U13 always a log-in page": Row(faults.html, (502, 2), (502, 2), lasting=True),
    "U15 an endless body": Row(faults.endless, (WHOLE, 2), (CUT, 1)),
    "U24 404": Row(faults.status(404), (404, 1), (404, 1)),
    "U25 429": Row(faults.status(429, 1), (503, 1), (503, 1)),
    "U26 500": Row(faults.status(500), (502, 1), (502, 1)),
    "U26 503": Row(faults.status(503), (502, 1), (502, 1)),
    "U28 403": Row(faults.status(403), (403, 1), (403, 1)),
    "U30 two lengths": Row(faults.repeated_header("Content-Length", "5"), (502, 1), (502, 1)),
    "U30 a header of 100 KB": Row(faults.header("X-Large", "x" * 100_000), (502, 1), (502, 1)),
    "U32 a kept connection closed without an answer": Row(faults.dropped, (WHOLE, 2), (WHOLE, 2)),
    "an encoded body": Row(faults.gzip_encoded, (502, 1), (502, 1)),
    "less declared than there is": Row(faults.declared_length(200_000), (WHOLE, 2), (WHOLE, 2)),
}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("row", BLOBS.values(), ids=BLOBS)
async def test_a_blob_with_a_fault(
    registry: FakeRegistry,
    journal: Journal,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    joins: Joins,
    row: Row,
    size: str,
) -> None:
    blob = SMALL if size == "small" else LARGE
    expected, requests = row.small if size == "small" else row.large
    script = registry.always if row.lasting else registry.fault
    script(path_of(blob), row.fault, method="GET")

    answers = await _together(registry, joins, [ask_pipelined(mirror, path_of(blob)) for _ in range(CLIENTS)])

    outcomes = {seen(answer, blob) for answer in answers}
    assert outcomes <= {expected} | ({502} if expected == CUT else set())
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    count = journal.count("GET", path_of(blob))
    assert count == requests or (row.lasting and count < requests)
    if expected != WHOLE:
        assert blob.digest not in cache_folder.digests()
        registry.heal()
        if expected in {403, 404}:
            # A no is believed for a while.
            return
        assert seen(await ask_pipelined(mirror, path_of(blob)), blob) == WHOLE
    await until(lambda: blob.digest in cache_folder.digests(), "the blob is committed")


async def _together(
    registry: FakeRegistry, joins: Joins, asking: list[Coroutine[Any, Any, RawAnswer]]
) -> list[RawAnswer]:
    """Ask while upstream hears and says nothing, so that nobody comes when the fault is over."""
    registry.hang()
    answers = asyncio.gather(*asking)
    await joins.reach(len(asking))
    registry.resume()
    return await answers


async def test_a_blob_that_is_half_an_archive_is_a_blob(
    registry: FakeRegistry, mirror: RunningMirror, aftermath: Aftermath
) -> None:
    # U12: what the bytes mean is not asked, their digest decides.
    data = gzip.compress(content.blob(2 * MIB).data)[:MIB]
    half = content.FakeBlob(content.digest_of(data), data)
    registry.put_blob("library/alpine", half)
    assert seen(await ask_pipelined(mirror, path_of(half)), half) == WHOLE


@pytest.mark.parametrize("difference", [-1000, 1000])
async def test_a_head_that_tells_another_length(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, aftermath: Aftermath, difference: int
) -> None:
    # U21: the length of the transfer itself counts.
    told = str(LARGE.size + difference)
    registry.always(
        path_of(LARGE), faults.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {told}\r\n\r\n".encode()), method="HEAD"
    )
    answer = await ask_pipelined(mirror, path_of(LARGE))
    assert seen(answer, LARGE) == WHOLE
    assert answer.head.length == LARGE.size
    assert journal.count("HEAD") == 0


async def test_an_upstream_that_is_faster_than_the_disk(
    registry: FakeRegistry, mirror: RunningMirror, aftermath: Aftermath, monkeypatch: pytest.MonkeyPatch
) -> None:
    # U37: it is not read faster than it is written.
    blob = content.blob(24 * MIB, "fast")
    registry.put_blob("library/alpine", blob)
    append, ahead = Partial._append, []

    def append_slowly(partial: Partial, data: bytes) -> None:
        time.sleep(0.005)
        append(partial, data)
        (entry,) = registry.journal.select("GET", path_of(blob))
        ahead.append(entry.sent - partial.size)

    monkeypatch.setattr(Partial, "_append", append_slowly)
    assert seen(await ask_pipelined(mirror, path_of(blob)), blob) == WHOLE
    # What is between the two is in buffers of the kernel and of the client library.
    assert max(ahead) < 16 * MIB


# Manifests. ------------------------------------------------------------------------------------------------

OTHER = content.image(layers=1, seed="other")
BOTH_KINDS = content.manifest({"schemaVersion": 2, "layers": [], "manifests": []}, content.OCI_MANIFEST)

MANIFESTS: dict[str, tuple[Fault, int]] = {
    "U1 a reset": (faults.cut_at(50), 502),
    "U4 no first byte": (faults.hold(Gate()), 504),
    "U5 a short body": (faults.short_body(50), 502),
    "U7 truncated at the origin": (faults.truncated(50), 502),
    "U9 chunks": (faults.chunked, 200),
    "U10 a wrong byte": (faults.wrong_bytes(), 502),
    "U14 a log-in page": (faults.html, 502),
    "U15 an endless body": (faults.endless, 502),
    "U15 more than 4 MiB": (faults.other_body(b" " * (4 * MIB + 1)), 502),
    "U16 no digest": (faults.content_digest(None), 200),
    "U17 another digest": (faults.content_digest(OTHER.digest), 502),
    "U19 layers and manifests": (faults.other_body(BOTH_KINDS.data), 502),
    "U19 another type": (faults.content_type(content.DOCKER_MANIFEST), 502),
    "U22 another manifest": (faults.other_body(OTHER.manifest.data), 502),
    "U24 404": (faults.status(404), 404),
    "U25 429": (faults.status(429, 1), 503),
    "U25 429 with a date": (faults.status(429, "Wed, 21 Oct 2015 07:28:00 GMT"), 503),
    "U25 429 with nonsense": (faults.status(429, "soon"), 503),
    "U25 429 for a long time": (faults.status(429, 10**9), 503),
    "U26 500": (faults.status(500), 502),
    "U26 503": (faults.status(503), 502),
    "U27 401": (faults.status(401), 403),
    "U28 403": (faults.status(403), 403),
    "U30 two lengths": (faults.repeated_header("Content-Length", "5"), 502),
    "U30 a header of 100 KB": (faults.header("X-Large", "x" * 100_000), 502),
    "U30 a NUL": (faults.raw(b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"), 502),
    "U30 a folded header": (faults.raw(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"), 502),
    "U32 a connection closed without an answer": (faults.dropped, 502),
}
"""A fault in all answers, and what a client gets where nothing is cached."""

STALE_UNLESS = {200, 403, 404}


@pytest.mark.parametrize(("fault", "expected"), MANIFESTS.values(), ids=MANIFESTS)
async def test_a_manifest_with_a_fault(
    registry: FakeRegistry,
    mirror: RunningMirror,
    cache_folder: CacheFolder,
    aftermath: Aftermath,
    fault: Fault,
    expected: int,
) -> None:
    registry.always("/v2/library/*", fault, method="GET")
    # The HEAD tells no digest, so that the tag itself is fetched.
    registry.always(TAG, both(fault, faults.content_digest(None)), method="HEAD")
    for path in (TAG, DIGEST):
        answer = await ask_pipelined(mirror, path)
        # What is asked for by its digest is judged by that alone.
        wanted = 200 if path == DIGEST and answer.body == IMAGE.manifest.data else expected
        assert (answer.head.status, answer.whole) == (wanted, True)
        assert answer.body == IMAGE.manifest.data if wanted == 200 else error_code(answer.body)
    assert cache_folder.digests() <= {IMAGE.digest, UNRELATED.digest}
    registry.heal()
    if expected not in STALE_UNLESS:
        for path in (TAG, DIGEST):
            assert (await ask_pipelined(mirror, path)).body == IMAGE.manifest.data
