"""Conditional requests: who has it already gets a 304, and nobody gets one for what it may not have."""

from __future__ import annotations

from itertools import product

import pytest
from structlog.testing import capture_logs

from tests.fakes import content, faults
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.asking import check_cache_status, error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.raw_http import Head, raw_client
from tests.integration.waiting import until, until_metric

IMAGE = content.image(layers=1, size=100_000)
MOVED = content.image(layers=0, seed="moved")
LAYER = IMAGE.layers[0]
TAG = "/v2/owner/app/manifests/1.0"
BY_DIGEST = f"/v2/owner/app/manifests/{IMAGE.digest}"
BLOB = f"/v2/owner/app/blobs/{LAYER.digest}"
SAME = {TAG: IMAGE.digest, BY_DIGEST: IMAGE.digest, BLOB: LAYER.digest}
OTHER = f'"{MOVED.digest}"'
NO_TTL = {"tag_ttl": "0s"}


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)


async def asked(mirror: RunningMirror, path: str, method: str = "GET", **headers: str) -> Head:
    """The head of an answer without a body, and proof that the connection goes on behind it."""
    async with raw_client(mirror) as client:
        await client.ask(path, method, **headers)
        head = await client.head()
        await client.ask("/v2/")
        following = await client.answer()
        assert (following.head.status, following.body) == (200, b"{}")
    return head


async def warmed(mirror: RunningMirror) -> None:
    """Have everything in the cache."""
    for path in SAME:
        assert (await mirror.get(path))[0].status == 200
    await until_metric(mirror, "mirror_fills_in_flight", 0)


# What is held. -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAME)
async def test_a_304_has_what_a_cache_needs_and_no_body(mirror: RunningMirror, journal: Journal, path: str) -> None:
    await warmed(mirror)
    count = len(journal.entries)
    digest = SAME[path]
    held_as = (f'"{digest}"', f'W/"{digest}"', "*", f'{OTHER}, "x,y" ,"{digest}"', digest)
    for held, method in product(held_as, ("GET", "HEAD")):
        head = await asked(mirror, f"{path}?ns=docker.io", method, If_None_Match=held)
        assert head.status == 304, held
        assert head.headers["etag"] == f'"{digest}"'
        assert head.headers["docker-content-digest"] == digest
        assert head.headers["cache-status"] == "mirror; hit"
        assert head.headers["oci-namespace"] == "docker.io"
        assert head.headers["docker-distribution-api-version"] == "registry/2.0"
        assert not {"content-length", "content-type", "transfer-encoding", "accept-ranges"} & set(head.headers)
        assert ("age" in head.headers, head.headers.get("vary")) == ((True, "Accept") if path == TAG else (False, None))
    assert len(journal.entries) == count


async def test_what_is_not_held_is_sent(mirror: RunningMirror) -> None:
    await warmed(mirror)
    for path, digest in SAME.items():
        for held in (OTHER, f"W/{OTHER}", '""', "", "nonsense", f'*, "{digest}"', digest.upper()):
            response, body = await mirror.get(path, headers={"If-None-Match": held})
            assert (response.status, content.digest_of(body)) == (200, digest), held


async def test_several_lines_are_one_list(mirror: RunningMirror) -> None:
    for path, digest in SAME.items():
        lines = [("If-None-Match", OTHER), ("If-None-Match", f'"{digest}"')]
        for headers in (lines, lines[::-1]):
            response, body = await mirror.get(path, headers=headers)
            assert (response.status, body) == (304, b"")


async def test_dates_mean_nothing_here(mirror: RunningMirror) -> None:
    for path, digest in SAME.items():
        dates = {
            "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
            "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
        }
        response, body = await mirror.get(path, headers=dates)
        assert (response.status, content.digest_of(body)) == (200, digest)
        assert "Last-Modified" not in response.headers
        response, _ = await mirror.get(path, headers=dates | {"If-None-Match": "*"})
        assert response.status == 304


async def test_a_304_comes_before_any_range(mirror: RunningMirror) -> None:
    await warmed(mirror)
    for wanted in ("bytes=0-9", "bytes=999999999-", "nonsense"):
        head = await asked(mirror, BLOB, Range=wanted, If_None_Match=f'"{LAYER.digest}"')
        assert (head.status, head.headers.get("content-range")) == (304, None)
    response, body = await mirror.get(BLOB, headers={"Range": "bytes=0-9", "If-None-Match": OTHER})
    assert (response.status, body) == (206, LAYER.data[:10])


async def test_a_304_is_logged_and_counted_as_what_it_is(mirror: RunningMirror) -> None:
    await warmed(mirror)
    series = 'mirror_response_bytes_total{source="cache",upstream="docker.io"}'
    before = await mirror.metric(series)
    with capture_logs() as logs:
        for path in SAME:
            await mirror.get(path, headers={"If-None-Match": "*"})
    lines = [line for line in logs if line["event"] == "request"]
    told = [(line["status"], line["bytes"], line["outcome"], line["log_level"]) for line in lines]
    assert told == [(304, 0, "hit", "info")] * len(SAME)
    assert await mirror.metric(series) == before


# Tags. ---------------------------------------------------------------------------------------------------


async def test_a_tag_is_revalidated_before_a_304(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    held = {"If-None-Match": f'"{IMAGE.digest}"'}
    async with start_mirror(freshness=NO_TTL) as mirror:
        response, _ = await mirror.get(TAG, headers=held)
        assert (response.status, response.headers["Cache-Status"]) == (304, "mirror; fwd=miss; stored")
        journal.clear()
        response, _ = await mirror.get(TAG, headers=held)
        assert (response.status, response.headers["Cache-Status"]) == (304, "mirror; fwd=stale; fwd-status=200")
        assert journal.paths() == [f"HEAD {TAG}"]
        registry.move_tag("owner/app", "1.0", MOVED)
        response, body = await mirror.get(TAG, headers=held)
        assert (response.status, body) == (200, MOVED.manifest.data)
        response, _ = await mirror.get(TAG, headers={"If-None-Match": OTHER})
        assert response.status == 304


@pytest.mark.usefixtures("forgetful")
async def test_a_304_of_a_stale_tag_says_so(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await mirror.get(TAG)
        await registry.stop()
        told = {}
        for headers in ({}, {"If-None-Match": f'"{IMAGE.digest}"'}):
            response, _ = await mirror.get(TAG, headers=headers)
            assert response.headers["Age"].isdecimal()
            told[response.status] = (response.headers["Cache-Status"], response.headers["Warning"].partition("last")[0])
        assert told[200] == told[304]
        assert told[304][0] == "mirror; fwd=stale; detail=upstream-unavailable"


async def test_a_304_is_about_what_this_client_would_get(mirror: RunningMirror, registry: FakeRegistry) -> None:
    images = content.index(docker=True)
    registry.add_image("owner/app", "list", images)
    path, accept = "/v2/owner/app/manifests/list", {"Accept": content.DOCKER_MANIFEST}
    statuses = []
    for digest in (images.digest, images.images[0].digest):
        for headers in ({}, accept):
            response, _ = await mirror.get(path, headers={"If-None-Match": f'"{digest}"', **headers})
            statuses.append(response.status)
    assert statuses == [304, 200, 200, 304]


# Lists. --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2/owner/app/tags/list", f"/v2/owner/app/referrers/{IMAGE.digest}"])
async def test_a_list_that_is_held_is_a_304(mirror: RunningMirror, journal: Journal, path: str) -> None:
    response, body = await mirror.get(path)
    etag = response.headers["ETag"]
    assert (response.status, bool(body)) == (200, True)
    count = len(journal.entries)
    for held, method in product((etag, f"W/{etag}", "*"), ("GET", "HEAD")):
        head = await asked(mirror, path, method, If_None_Match=held)
        assert (head.status, head.headers["etag"], head.headers["cache-status"]) == (304, etag, "mirror; hit")
        assert "age" in head.headers
        assert not {"content-length", "content-type"} & set(head.headers)
    for headers in ({"If-None-Match": OTHER}, {"If-Match": etag}):
        response, again = await mirror.get(path, headers=headers)
        assert (response.status, response.headers["ETag"], again) == (200, etag, body)
    assert (await mirror.get(path, headers={"If-Match": OTHER}))[0].status == 412
    assert len(journal.entries) == count


async def test_a_page_that_has_a_next_one_now_is_another(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    path = "/v2/owner/app/tags/list?n=1"
    async with start_mirror(freshness=NO_TTL) as mirror:
        response, last = await mirror.get(path)
        held = {"If-None-Match": response.headers["ETag"]}
        assert (await mirror.get(path, headers=held))[0].status == 304
        registry.add_image("owner/app", "2.0", MOVED)
        response, body = await mirror.get(path, headers=held)
        assert (response.status, body, "Link" in response.headers) == (200, last, True)


# Access. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ["If_None_Match", "If_Match"])
async def test_a_cold_blob_costs_one_question_and_no_transfer(
    mirror: RunningMirror, journal: Journal, cache_folder: CacheFolder, condition: str
) -> None:
    # The cache puts itself in order once at its start, and forgets then who may have what it does not hold.
    await until((cache_folder.path / "index.json").exists, "the cache is in order")
    value, status = (f'"{LAYER.digest}"', 304) if condition == "If_None_Match" else (OTHER, 412)
    for _ in range(2):
        async with raw_client(mirror) as client:
            await client.ask(BLOB, **{condition: value})
            head = await client.head()
        assert head.status == status
        check_cache_status(head.headers["cache-status"])
    assert journal.paths() == [f"HEAD {BLOB}"]
    assert not cache_folder.digests()
    assert await mirror.metric("mirror_fills_in_flight") == 0
    # Whoever does want it gets it.
    assert (await mirror.get(BLOB))[1] == LAYER.data


NOT_TO_BE_HAD = {404: faults.status(404), 403: faults.status(401), 502: faults.status(500), 503: faults.status(429)}


async def test_no_304_and_no_412_for_what_may_not_be_had(mirror: RunningMirror, registry: FakeRegistry) -> None:
    await warmed(mirror)
    for (expected, fault), path in product(NOT_TO_BE_HAD.items(), (BY_DIGEST, BLOB)):
        elsewhere = path.replace("owner", f"other{expected}")
        registry.always(elsewhere, fault)
        for headers in ({"If-None-Match": "*"}, {"If-None-Match": f'"{SAME[path]}"'}, {"If-Match": OTHER}):
            response, body = await mirror.get(elsewhere, headers=headers)
            assert (response.status, "ETag" in response.headers) == (expected, False)
            assert error_code(body)


async def test_what_has_no_entity_tag_knows_no_conditions(mirror: RunningMirror) -> None:
    for path in ("/v2/", "/healthz"):
        response, body = await mirror.get(path, headers={"If-None-Match": "*", "If-Match": OTHER})
        assert response.status == 200
        assert body


async def test_an_error_stays_what_it_is(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.absent("/v2/owner/gone/*")
    for path, expected in (("/v2/owner/gone/manifests/1.0", 404), ("/v2/owner/app/manifests/sha256:1", 400)):
        for headers in ({"If-None-Match": "*"}, {"If-Match": OTHER}):
            assert (await mirror.get(path, headers=headers))[0].status == expected


# If-Match. -----------------------------------------------------------------------------------------------


async def test_who_wants_other_content_gets_none(mirror: RunningMirror) -> None:
    await warmed(mirror)
    for path, digest in SAME.items():
        for wanted in (OTHER, f'W/"{digest}"', '""', ""):
            response, body = await mirror.get(path, headers={"If-Match": wanted, "If-None-Match": "*"})
            assert (response.status, error_code(body)) == (412, "UNSUPPORTED"), wanted
            assert response.headers["Cache-Status"] == "mirror; detail=precondition-failed"
        for wanted in (f'"{digest}"', "*", f'{OTHER}, "{digest}"', "nonsense"):
            response, body = await mirror.get(path, headers={"If-Match": wanted})
            assert (response.status, content.digest_of(body)) == (200, digest), wanted
