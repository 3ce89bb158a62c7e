"""Access: bytes are shared on disk, the right to read them is not. Each repository asks its upstream once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes import content
from tests.fakes.auth import TokenAuth
from tests.fakes.content import FakeBlob
from tests.fakes.faults import answer_with, both, cut_at, hold, status, stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until_metric

MIB = 1024 * 1024
SIZE = 3 * MIB
BLOB = content.blob(SIZE)
A = f"/v2/team/a/blobs/{BLOB.digest}"
B = f"/v2/team/b/blobs/{BLOB.digest}"

REFUSALS = pytest.mark.parametrize(("answered", "expected"), [(404, 404), (403, 403), (401, 403)])
OUTAGES = pytest.mark.parametrize(("answered", "expected"), [(500, 502), (503, 502), (429, 503)])


@pytest.fixture
def blob(registry: FakeRegistry) -> FakeBlob:
    """A blob that is in both repositories as far as the registry knows; tests script what B says."""
    for repository in ("team/a", "team/b"):
        registry.put_blob(repository, BLOB)
    return BLOB


@pytest.fixture
async def stored(mirror: RunningMirror, blob: FakeBlob, journal: Journal) -> None:
    """A has been pulled."""
    assert (await mirror.get(A))[1] == blob.data
    await until_metric(mirror, "mirror_fills_in_flight", 0)
    journal.clear()


async def ways_to_ask(mirror: RunningMirror, path: str) -> list[tuple[int, bytes]]:
    """Return what HEAD, GET and GET of a part are answered."""
    answers = [
        await mirror.get(path, "HEAD"),
        await mirror.get(path),
        await mirror.get(path, headers={"Range": "bytes=5-"}),
        await mirror.get(path, headers={"Range": f"bytes={SIZE}-"}),
        await mirror.get(path, headers={"If-None-Match": f'"{BLOB.digest}"'}),
    ]
    return [(response.status, body) for response, body in answers]


def holds_nothing_of(blob: FakeBlob, body: bytes) -> bool:
    return blob.data[:100] not in body and blob.data[5:105] not in body and len(body) < 1000


# What is on disk. ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("first", ["GET", "HEAD"])
async def test_another_repository_costs_one_head(
    journal: Journal, mirror: RunningMirror, blob: FakeBlob, first: str
) -> None:
    response, body = await mirror.get(B, first)
    assert (response.status, body) == (200, blob.data if first == "GET" else b"")
    assert response.headers["Content-Length"] == str(SIZE)
    assert journal.paths() == [f"HEAD {B}"]

    for path in (A, B):
        for status_, _ in await ways_to_ask(mirror, path):
            assert status_ in {200, 206, 304, 416}
        response, body = await mirror.get(path)
        assert (response.headers["Cache-Status"], body) == ("mirror; hit", blob.data)
    assert journal.paths() == [f"HEAD {B}"]


@pytest.mark.usefixtures("stored")
async def test_any_number_of_clients_cost_one_head(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(B, hold(gate))
    clients = [asyncio.create_task(mirror.get(B)) for _ in range(20)]
    await gate.reached()
    gate.open()
    answers = await asyncio.gather(*clients)
    assert all((response.status, body) == (200, blob.data) for response, body in answers)
    assert journal.paths() == [f"HEAD {B}"]


@REFUSALS
@pytest.mark.usefixtures("stored")
async def test_what_a_repository_refuses_is_not_served_from_disk(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, blob: FakeBlob, answered: int, expected: int
) -> None:
    registry.always(B, status(answered))

    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == expected
        assert holds_nothing_of(blob, body)
    assert journal.count("GET", status=200) == 0
    # The first repository is not touched by it.
    journal.clear()
    assert (await mirror.get(A))[1] == blob.data
    assert not journal.entries


@OUTAGES
@pytest.mark.usefixtures("stored")
async def test_without_an_answer_nothing_is_served_from_disk(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob, answered: int, expected: int
) -> None:
    registry.always(B, status(answered))

    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == expected
        assert holds_nothing_of(blob, body)
    assert (await mirror.get(A))[1] == blob.data


REFUSED_GETS = pytest.mark.parametrize(("answered", "expected"), [(403, 403), (404, 404), (401, 403), (500, 502)])


@REFUSED_GETS
async def test_a_registry_that_knows_no_head_has_not_said_yes(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror, answered: int, expected: int
) -> None:
    image = content.image(layers=1)
    for repository in ("team/a", "team/b"):
        registry.add_image(repository, None, image)
    of_a, of_b = (f"/v2/{repository}/manifests/{image.digest}" for repository in ("team/a", "team/b"))
    assert (await mirror.get(of_a))[1] == image.manifest.data
    registry.always(of_b, status(405), method="HEAD")
    registry.always(of_b, status(answered), method="GET")

    for method in ("GET", "HEAD", "GET"):
        response, body = await mirror.get(of_b, method)
        assert response.status == expected
        assert image.manifest.data[:50] not in body
    assert journal.count("GET", of_b) == 1


async def test_a_registry_that_knows_no_head_is_asked_by_get(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    image = content.image(layers=1)
    for repository in ("team/a", "team/b"):
        registry.add_image(repository, None, image)
    of_a, of_b = (f"/v2/{repository}/manifests/{image.digest}" for repository in ("team/a", "team/b"))
    assert (await mirror.get(of_a))[1] == image.manifest.data
    registry.always(of_b, status(405), method="HEAD")
    journal.clear()

    for _ in range(2):
        assert (await mirror.get(of_b))[1] == image.manifest.data
    assert journal.paths() == [f"HEAD {of_b}", f"GET {of_b}"]


async def test_a_page_to_log_in_on_is_no_manifest_and_opens_none(registry: FakeRegistry, mirror: RunningMirror) -> None:
    image = content.image(layers=1)
    registry.add_image("team/a", None, image)
    of_a, of_b = (f"/v2/{repository}/manifests/{image.digest}" for repository in ("team/a", "team/b"))
    assert (await mirror.get(of_a))[1] == image.manifest.data
    registry.always(of_b, answer_with(200, b"<!doctype html>", "text/html"))

    for method in ("HEAD", "GET"):
        response, body = await mirror.get(of_b, method)
        assert response.status == 502
        assert image.manifest.data[:50] not in body


@pytest.mark.usefixtures("stored")
async def test_a_blob_of_a_registry_that_knows_no_head_is_not_served_from_disk(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob
) -> None:
    registry.always(B, status(405), method="HEAD")
    registry.always(B, status(403), method="GET")

    for status_, body in await ways_to_ask(mirror, B):
        assert status_ >= 400
        assert holds_nothing_of(blob, body)


@pytest.mark.usefixtures("stored")
async def test_with_the_registry_down_only_what_was_granted_is_served(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob
) -> None:
    await registry.stop()
    assert (await mirror.get(A))[1] == blob.data
    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == 502
        assert holds_nothing_of(blob, body)


@pytest.mark.usefixtures("stored")
async def test_a_repository_that_is_refused_its_token(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    mirror: RunningMirror,
    blob: FakeBlob,
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.restrict("team/b", "somebody")

    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == 403
        assert holds_nothing_of(blob, body)
    assert journal.count("GET", B) == 0
    assert (await mirror.get(A))[1] == blob.data


@pytest.mark.usefixtures("stored")
async def test_a_manifest_that_names_a_blob_opens_nothing(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob
) -> None:
    layer = content.descriptor(blob, content.OCI_LAYER)
    config = content.descriptor(content.blob(2, "config"), content.OCI_CONFIG)
    document: dict[str, object] = {"schemaVersion": 2, "config": config, "layers": [layer]}
    registry.put_manifest("team/b", content.manifest(document, content.OCI_MANIFEST), "thief")
    registry.remove_blob("team/b", blob.digest)

    response, _ = await mirror.get("/v2/team/b/manifests/thief")
    assert response.status == 200
    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == 404
        assert holds_nothing_of(blob, body)


async def test_a_manifest_is_no_blob_of_another_repository(
    registry: FakeRegistry, journal: Journal, mirror: RunningMirror
) -> None:
    # Manifests and blobs lie in one folder: neither kind of request may lead round the grant.
    image = content.image(layers=1)
    registry.add_image("team/a", "1", image)
    await mirror.get("/v2/team/a/manifests/1")
    journal.clear()
    for path in (f"/v2/team/b/blobs/{image.digest}", f"/v2/team/b/manifests/{image.digest}"):
        registry.absent(path)
        for method in ("GET", "HEAD"):
            response, body = await mirror.get(path, method)
            assert (response.status, image.manifest.data in body) == (404, False)
    assert all(entry.status == 404 for entry in journal.entries)


# What is still growing. ------------------------------------------------------------------------------------


class Growing:
    """A transfer through A that has stopped in the middle."""

    def __init__(self, reader: asyncio.Task[tuple[object, bytes]], gate: Gate) -> None:
        self._reader = reader
        self._gate = gate

    async def finish(self) -> bytes:
        """Let it go on, and return what A's client got."""
        self._gate.open()
        return (await self._reader)[1]


@pytest.fixture
async def growing(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob, journal: Journal
) -> AsyncIterator[Growing]:
    gate = Gate()
    registry.fault(A, stop_at(2 * MIB, gate), method="GET")
    fill = Growing(asyncio.create_task(mirror.get(A)), gate)
    await gate.reached()
    await until_metric(mirror, "mirror_fills_in_flight", 1)
    journal.clear()
    yield fill
    gate.open()


async def test_another_repository_joins_a_fill_for_one_head(
    journal: Journal, mirror: RunningMirror, blob: FakeBlob, growing: Growing
) -> None:
    async with raw_client(mirror) as client:
        await client.ask(B, Range="bytes=0-")
        head = await client.head()
        assert head.status == 206
        assert head.headers["cache-status"] == "mirror; fwd=miss; collapsed; stored"
        begun = await client.exactly(2 * MIB)
        response, _ = await mirror.get(B, "HEAD")
        assert (response.status, response.headers["Content-Length"]) == (200, str(SIZE))
        assert await growing.finish() == blob.data
        assert begun + await client.exactly(MIB) == blob.data
    for path in (A, B):
        assert (await mirror.get(path))[1] == blob.data
    # A HEAD of the growing blob is this repository's own question; one was answered already.
    assert journal.count("GET") == 0
    assert set(journal.paths()) == {f"HEAD {B}"}


async def test_a_head_of_a_growing_blob_obtains_the_grant(
    journal: Journal, mirror: RunningMirror, blob: FakeBlob, growing: Growing
) -> None:
    response, _ = await mirror.get(B, "HEAD")
    assert (response.status, response.headers["Content-Length"]) == (200, str(SIZE))
    reader = asyncio.create_task(mirror.get(B))
    assert await growing.finish() == blob.data
    assert (await reader)[1] == blob.data
    assert journal.paths() == [f"HEAD {B}"]


@REFUSALS
async def test_what_a_repository_refuses_is_not_served_while_it_grows(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob, growing: Growing, answered: int, expected: int
) -> None:
    registry.always(B, status(answered))

    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == expected
        assert holds_nothing_of(blob, body)
    assert await growing.finish() == blob.data
    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == expected
        assert holds_nothing_of(blob, body)
    assert registry.journal.count("GET", status=200) == 0


@OUTAGES
async def test_without_an_answer_nothing_is_served_while_it_grows(
    registry: FakeRegistry, mirror: RunningMirror, blob: FakeBlob, growing: Growing, answered: int, expected: int
) -> None:
    registry.always(B, status(answered))

    for status_, body in await ways_to_ask(mirror, B):
        assert status_ == expected
        assert holds_nothing_of(blob, body)
    assert await growing.finish() == blob.data


async def test_one_repository_is_refused_and_the_other_served_all_the_same(
    registry: FakeRegistry, journal: Journal, joins: Joins, mirror: RunningMirror, blob: FakeBlob
) -> None:
    gate = Gate()
    registry.fault(A, both(status(404), hold(gate)), method="GET")
    refused = asyncio.create_task(mirror.get(A))
    await gate.reached()
    served = [asyncio.create_task(mirror.get(B)) for _ in range(5)]
    await joins.reach(6)
    await journal.wait_for(method="HEAD", path=B)
    gate.open()

    assert (await refused)[0].status == 404
    assert all((response.status, body) == (200, blob.data) for response, body in await asyncio.gather(*served))
    assert journal.count("HEAD", B) == 1
    assert journal.count("GET", A) == 1
    assert journal.count("GET", B) == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_transfer_that_fails_for_one_repository_goes_on_for_the_other(
    registry: FakeRegistry, journal: Journal, joins: Joins, mirror: RunningMirror
) -> None:
    small = content.blob(5000)
    gate = Gate()
    paths = [f"/v2/{repository}/blobs/{small.digest}" for repository in ("team/a", "team/b")]
    for repository in ("team/a", "team/b"):
        registry.put_blob(repository, small)
    registry.fault(paths[0], both(stop_at(2000, gate), cut_at(2000)), method="GET")
    registry.always(paths[0], cut_at(0), method="GET")
    first = asyncio.create_task(mirror.get(paths[0]))
    await gate.reached()
    second = asyncio.create_task(mirror.get(paths[1]))
    await joins.reach(2)
    await journal.wait_for(method="HEAD", path=paths[1])
    await until_metric(mirror, 'mirror_upstream_bytes_total{upstream="docker.io"}', 2000)
    gate.open()

    assert (await first)[0].status == 502
    response, body = await second
    assert (response.status, body) == (200, small.data)
    # What has come already is on disk, and this repository's upstream has said yes as well.
    assert [entry.range for entry in journal.select("GET", paths[1])] == ["bytes=2000-"]


# Another upstream. -----------------------------------------------------------------------------------------


@pytest.fixture
async def two_upstreams(
    start_mirror: StartMirror, other_registry: FakeRegistry, blob: FakeBlob
) -> AsyncIterator[RunningMirror]:
    other = {"endpoints": [other_registry.url], "private_network": True, "read_ahead": False}
    async with start_mirror(upstreams={"other.test": other}) as running:
        yield running


OTHER_A = f"{A}?ns=other.test"


async def test_the_same_repository_of_another_upstream_is_asked_for_itself(
    other_registry: FakeRegistry, journal: Journal, two_upstreams: RunningMirror, blob: FakeBlob
) -> None:
    assert (await two_upstreams.get(A))[1] == blob.data
    await until_metric(two_upstreams, "mirror_fills_in_flight", 0)
    other_registry.put_blob("team/a", blob)
    journal.clear()

    for expected in ("mirror; fwd=stale; fwd-status=200; detail=access-confirmed", "mirror; hit"):
        response, body = await two_upstreams.get(OTHER_A)
        assert (response.status, body) == (200, blob.data)
        assert response.headers["Cache-Status"] == expected
        assert response.headers["OCI-Namespace"] == "other.test"
    assert [(entry.host, entry.method) for entry in journal.entries] == [("other", "HEAD")]


@pytest.mark.parametrize("stop", [None, 2 * MIB])
async def test_another_upstream_that_does_not_have_it(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    journal: Journal,
    two_upstreams: RunningMirror,
    blob: FakeBlob,
    stop: int | None,
) -> None:
    gate = Gate()
    if stop is not None:
        registry.fault(A, stop_at(stop, gate))
    reader = asyncio.create_task(two_upstreams.get(A))
    await until_metric(two_upstreams, 'mirror_upstream_bytes_total{upstream="docker.io"}', stop or SIZE)
    if stop is None:
        await reader
        await until_metric(two_upstreams, "mirror_fills_in_flight", 0)
    other_registry.absent(A)
    journal.clear()

    for status_, body in await ways_to_ask(two_upstreams, OTHER_A):
        assert status_ == 404
        assert holds_nothing_of(blob, body)
    assert {entry.host for entry in journal.entries} == {"other"}
    assert journal.count("GET", status=200) == 0
    gate.open()
    assert (await reader)[1] == blob.data


async def test_another_upstream_joins_a_fill_and_reads_nothing_twice(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    joins: Joins,
    two_upstreams: RunningMirror,
    blob: FakeBlob,
    cache_folder: CacheFolder,
) -> None:
    other_registry.put_blob("team/a", blob)
    gate = Gate()
    registry.fault(A, stop_at(2 * MIB, gate))
    first = asyncio.create_task(two_upstreams.get(A))
    await gate.reached()
    second = asyncio.create_task(two_upstreams.get(OTHER_A))
    await joins.reach(2)
    await registry.journal.wait_for(method="HEAD", host="other")
    gate.open()

    assert (await first)[1] == (await second)[1] == blob.data
    assert [(entry.host, entry.method) for entry in registry.journal.entries] == [
        ("registry", "GET"),
        ("other", "HEAD"),
    ]
    await until_metric(two_upstreams, "mirror_fills_in_flight", 0)
    assert cache_folder.digests() == {blob.digest}
