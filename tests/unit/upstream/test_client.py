from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

import aiohttp
import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Reference, Repository, Tag
from mirror.proxy.interfaces.upstream import Rest
from mirror.upstream.endpoints import FAILOVER_WITHIN
from tests.unit.upstream.answers import answer
from tests.unit.upstream.scripted import ScriptedEndpoint, client
from tests.unit.virtual_time import in_virtual_time

ALPINE = Repository("library/alpine")
LATEST = Tag("latest")
DATA = b'{"schemaVersion": 2}'
DIGEST = Digest.of(DATA)
Answer = Callable[[], aiohttp.ClientResponse]


def manifest(status: int = 200, body: bytes = DATA, digest: Digest | None = DIGEST) -> aiohttp.ClientResponse:
    """An answer about the manifest."""
    headers = {"Content-Type": OCI_MANIFEST, "Content-Length": str(len(body))}
    if digest is not None:
        headers["Docker-Content-Digest"] = str(digest)
    return answer(status, body, headers)


# HEAD of a manifest. ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [LATEST, DIGEST])
@in_virtual_time
async def test_a_head_tells_what_a_reference_points_to(reference: Reference) -> None:
    endpoint = ScriptedEndpoint(manifest())
    found = await client(endpoint).head_manifest(ALPINE, reference)
    assert found == Descriptor(OCI_MANIFEST, DIGEST, len(DATA))
    assert endpoint.asked == ["HEAD"]


@in_virtual_time
async def test_where_head_is_not_known_a_tag_is_left_to_a_get() -> None:
    endpoint = ScriptedEndpoint(manifest(405))
    assert await client(endpoint).head_manifest(ALPINE, LATEST) is None
    assert endpoint.asked == ["HEAD"]


@in_virtual_time
async def test_where_head_is_not_known_a_get_tells_whether_a_digest_is_there() -> None:
    endpoint = ScriptedEndpoint(manifest(405, digest=None), manifest())
    found = await client(endpoint).head_manifest(ALPINE, DIGEST)
    assert found is not None
    assert found.digest == DIGEST
    assert endpoint.asked == ["HEAD", "GET"]


@pytest.mark.parametrize("declared", [None, DIGEST])
@pytest.mark.parametrize(
    ("response", "error"),
    [
        (lambda: manifest(404), errors.ManifestUnknown),
        (lambda: manifest(401), errors.Denied),
        (lambda: manifest(403), errors.Denied),
        (lambda: manifest(405), errors.UpstreamInvalid),
        (lambda: manifest(429), errors.UpstreamThrottled),
        (lambda: manifest(502), errors.UpstreamFailed),
        (lambda: manifest(200, b"something else"), errors.DigestMismatch),
    ],
)
@in_virtual_time
async def test_that_head_is_not_known_is_no_yes(
    declared: Digest | None, response: Answer, error: type[MirrorError]
) -> None:
    endpoint = ScriptedEndpoint(manifest(405, digest=declared), response())
    with pytest.raises(error):
        await client(endpoint).head_manifest(ALPINE, DIGEST)
    assert endpoint.asked == ["HEAD", "GET"]


@in_virtual_time
async def test_a_head_that_names_no_digest_is_no_yes() -> None:
    page = answer(200, b"<!doctype html>", {"Content-Type": "text/html"})
    endpoint = ScriptedEndpoint(manifest(digest=None), page)
    with pytest.raises(errors.DigestMismatch):
        await client(endpoint).head_manifest(ALPINE, DIGEST)
    assert endpoint.asked == ["HEAD", "GET"]


@in_virtual_time
async def test_a_page_for_people_is_no_answer_to_a_head() -> None:
    page = answer(200, b"", {"Content-Type": "text/html"})
    endpoint = ScriptedEndpoint(page)
    with pytest.raises(errors.UpstreamInvalid):
        await client(endpoint).head_manifest(ALPINE, LATEST)
    assert endpoint.asked == ["HEAD"]


@in_virtual_time
async def test_a_head_about_another_manifest_is_no_yes() -> None:
    with pytest.raises(errors.UpstreamInvalid):
        await client(ScriptedEndpoint(manifest(digest=Digest.of(b"other")))).head_manifest(ALPINE, DIGEST)


# Several endpoints. ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_silent_endpoint_gives_way_to_the_next() -> None:
    silent, good = ScriptedEndpoint(manifest(), seconds=3600), ScriptedEndpoint(manifest())
    assert await client(silent, silent, good).head_manifest(ALPINE, LATEST) is not None
    assert asyncio.get_running_loop().time() == pytest.approx(2 * FAILOVER_WITHIN)


@in_virtual_time
async def test_an_endpoint_that_answers_in_time_is_the_only_one_asked() -> None:
    first, second = ScriptedEndpoint(manifest(), seconds=FAILOVER_WITHIN - 0.1), ScriptedEndpoint()
    assert await client(first, second).head_manifest(ALPINE, LATEST) is not None
    assert second.asked == []


@in_virtual_time
async def test_the_last_endpoint_has_all_the_time_there_is() -> None:
    first = ScriptedEndpoint(errors.UpstreamUnreachable("no connection"))
    last = ScriptedEndpoint(manifest(), seconds=FAILOVER_WITHIN * 4)
    assert await client(first, last).head_manifest(ALPINE, LATEST) is not None
    assert await client(ScriptedEndpoint(manifest(), seconds=15)).head_manifest(ALPINE, LATEST) is not None


@pytest.mark.parametrize("status", [404, 401, 403])
@in_virtual_time
async def test_an_accelerators_no_is_not_the_registrys(status: int) -> None:
    first, second = ScriptedEndpoint(manifest(status)), ScriptedEndpoint(manifest())
    assert await client(first, second).head_manifest(ALPINE, LATEST) is not None
    with pytest.raises(errors.Refused):
        await client(ScriptedEndpoint(manifest(500)), ScriptedEndpoint(manifest(status))).head_manifest(ALPINE, LATEST)


@pytest.mark.parametrize(("attempt", "order"), [(0, "abc"), (1, "bca"), (2, "cab"), (3, "abc"), (10**6, "bca")])
@in_virtual_time
async def test_each_attempt_begins_with_another_endpoint(attempt: int, order: str) -> None:
    endpoints = {name: ScriptedEndpoint(errors.UpstreamUnreachable(name), seconds=1) for name in "abc"}
    asked: list[str] = []
    for name, endpoint in endpoints.items():
        endpoint.when_asked = functools.partial(asked.append, name)
    with pytest.raises(errors.UpstreamUnreachable, match=order[-1]):
        await client(*endpoints.values()).get_blob(ALPINE, DIGEST, Rest(attempt=attempt))
    assert asked == list(order)


@in_virtual_time
async def test_the_last_one_of_an_attempt_has_all_the_time_there_is() -> None:
    last, first = ScriptedEndpoint(answer(), seconds=15), ScriptedEndpoint(answer(), seconds=15)
    await client(last, first).get_blob(ALPINE, DIGEST, Rest(attempt=1))
    assert asyncio.get_running_loop().time() == pytest.approx(FAILOVER_WITHIN + 15)
    assert (len(first.requests), len(last.requests)) == (1, 1)
