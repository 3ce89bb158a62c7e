"""Manifests: exact bytes and types, tags that age, digests that do not, and what an upstream in trouble changes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from mirror.proxy.deadline import REVALIDATE_WITHIN
from mirror.upstream.endpoints import FAILOVER_WITHIN
from tests.fakes import content, faults
from tests.fakes.auth import TokenAuth
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import check_cache_status, error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror, docker_io

OLD = content.image(layers=1, seed="old")
NEW = content.image(layers=1, seed="new")
TAG = "/v2/owner/app/manifests/1.0"
NO_TTL = {"tag_ttl": "0s"}


def at(digest: str, repository: str = "owner/app") -> str:
    """The path of a manifest by its digest."""
    return f"/v2/{repository}/manifests/{digest}"


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", OLD)


async def pulled(mirror: RunningMirror, path: str = TAG) -> tuple[str, bytes]:
    """Cache-Status and body of an answer that must be whole."""
    response, body = await mirror.get(path)
    assert response.status == 200, body
    check_cache_status(response.headers["Cache-Status"])
    return response.headers["Cache-Status"], body


async def refused(mirror: RunningMirror, path: str = TAG, method: str = "GET") -> int:
    """The status of an answer that must be an error."""
    response, body = await mirror.get(path, method)
    assert response.status >= 400, body
    assert method == "HEAD" or error_code(body)
    return response.status


# Types and bytes. ----------------------------------------------------------------------------------------

LAYERS: dict[str, object] = {"schemaVersion": 2, "config": {}, "layers": []}
MANIFESTS: dict[str, object] = {"schemaVersion": 2, "manifests": []}
SIGNED: dict[str, object] = {"schemaVersion": 1, "name": "owner/app", "tag": "1.0", "fsLayers": [], "history": []}
DOCUMENTS: dict[str, dict[str, object]] = {
    "application/vnd.oci.image.index.v1+json": MANIFESTS,
    "application/vnd.oci.image.manifest.v1+json": LAYERS,
    "application/vnd.oci.artifact.manifest.v1+json": {"artifactType": "x/y", "blobs": []},
    "application/vnd.docker.distribution.manifest.list.v2+json": MANIFESTS,
    "application/vnd.docker.distribution.manifest.v2+json": LAYERS,
    "application/vnd.docker.distribution.manifest.v1+json": SIGNED,
    "application/vnd.docker.distribution.manifest.v1+prettyjws": SIGNED,
}


@pytest.mark.parametrize("names_itself", [True, False])
async def test_every_media_type_there_is(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, names_itself: bool
) -> None:
    for number, (media_type, document) in enumerate(DOCUMENTS.items()):
        itself = {"mediaType": media_type} if names_itself else {}
        manifest = content.manifest({**document, **itself, "number": number}, media_type)
        registry.put_manifest("owner/app", manifest, f"v{number}")
        for path in (at(f"v{number}"), at(manifest.digest)):
            for method in ("GET", "HEAD"):
                response, body = await mirror.get(path, method)
                assert response.status == 200, media_type
                assert body == (manifest.data if method == "GET" else b"")
                assert response.headers["Content-Type"] == media_type
                assert response.headers["Content-Length"] == str(manifest.size)
                assert response.headers["Docker-Content-Digest"] == manifest.digest
    assert len(journal.entries) == 2 * len(DOCUMENTS)


VAGUE_TYPES = (
    "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
    "Application/vnd.OCI.image.manifest.v1+JSON",
    "text/plain",
    "text/plain; charset=utf-8",
    "application/json",
    "application/octet-stream",
    "",
    None,
)


async def test_a_vague_type_is_made_exact_by_the_document(mirror: RunningMirror, registry: FakeRegistry) -> None:
    for number, header in enumerate(VAGUE_TYPES):
        image = content.image(layers=0, seed=number)
        registry.add_image("owner/app", f"v{number}", image)
        registry.always(at(image.digest), faults.content_type(header))
        for _ in range(2):
            response, body = await mirror.get(at(f"v{number}"))
            assert (response.status, body) == (200, image.manifest.data), header
            assert response.headers["Content-Type"] == content.OCI_MANIFEST


ODD_BYTES = [
    b'{"schemaVersion":2,"mediaType":"%s","layers":[]}',
    b'\n\t {"layers" : [ ],\r\n"mediaType":"%s","schemaVersion":2.0}  \n\n',
    b'{"schemaVersion":2,"mediaType":"%s","layers":[],"annotations":{"a":"\\u00e9\xc3\xa9\\/"},"big":1e400}',
    b'{"layers":[],"layers":[],"mediaType":"%s","mediaType":"%s"}',
]


@pytest.mark.parametrize("template", ODD_BYTES)
async def test_bytes_are_kept_as_they_are(start_mirror: StartMirror, registry: FakeRegistry, template: bytes) -> None:
    data = template.replace(b"%s", content.OCI_MANIFEST.encode())
    manifest = content.FakeManifest(content.digest_of(data), content.OCI_MANIFEST, data)
    registry.put_manifest("owner/odd", manifest, "1.0")
    for _ in range(2):
        async with start_mirror() as mirror:
            assert (await pulled(mirror, at("1.0", "owner/odd")))[1] == data
            assert (await pulled(mirror, at(manifest.digest, "owner/odd")))[1] == data


def padded(size: int) -> content.FakeManifest:
    """A manifest of exactly that many bytes."""
    head, tail = f'{{"mediaType":"{content.OCI_MANIFEST}","layers":[],"x":"'.encode(), b'"}'
    data = head + b"x" * (size - len(head) - len(tail)) + tail
    return content.FakeManifest(content.digest_of(data), content.OCI_MANIFEST, data)


LARGEST = 4 * 1024 * 1024


async def test_the_largest_manifest(mirror: RunningMirror, registry: FakeRegistry) -> None:
    manifest = padded(LARGEST)
    registry.put_manifest("owner/large", manifest, "1.0")
    for _ in range(2):
        assert (await pulled(mirror, at("1.0", "owner/large")))[1] == manifest.data


@pytest.mark.parametrize("fault", [faults.healthy, faults.chunked, faults.until_close])
async def test_a_manifest_that_is_too_large_is_refused(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, tmp_path: Path, fault: Fault
) -> None:
    manifest = padded(LARGEST + 1)
    registry.put_manifest("owner/large", manifest, "1.0")
    registry.always("/v2/owner/large/*", fault, method="GET")
    assert await refused(mirror, at("1.0", "owner/large")) == 502
    assert await refused(mirror, at(manifest.digest, "owner/large")) == 502
    assert not CacheFolder(tmp_path / "cache").digests()


async def test_an_endless_manifest_is_given_up(mirror: RunningMirror, registry: FakeRegistry, journal: Journal) -> None:
    registry.always("/v2/*", faults.endless, method="GET")
    assert await refused(mirror, at(OLD.digest)) == 502
    assert journal.body_bytes() < 64 * 1024 * 1024


# By tag. -------------------------------------------------------------------------------------------------


async def test_a_tag_within_its_ttl_is_served_without_asking(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    status, body = await pulled(mirror)
    assert (status, body) == ("mirror; fwd=miss; stored", OLD.manifest.data)
    assert journal.paths() == [f"HEAD {TAG}", f"GET {at(OLD.digest)}"]
    registry.move_tag("owner/app", "1.0", NEW)
    await registry.stop()
    for method in ("GET", "HEAD", "GET"):
        response, body = await mirror.get(TAG, method)
        assert body == (OLD.manifest.data if method == "GET" else b"")
        assert response.headers["Cache-Status"] == "mirror; hit"
        assert int(response.headers["Age"]) >= 0
        assert "Warning" not in response.headers
    assert len(journal.entries) == 2


async def test_only_a_tag_has_an_age(mirror: RunningMirror) -> None:
    response, _ = await mirror.get(at(OLD.digest))
    assert "Age" not in response.headers
    response, _ = await mirror.get(TAG)
    assert response.headers["Age"].isdecimal()


async def test_a_tag_after_its_ttl_is_renewed_by_one_head(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        journal.clear()
        for _ in range(3):
            status, body = await pulled(mirror)
            assert (status, body) == ("mirror; fwd=stale; fwd-status=200", OLD.manifest.data)
    assert journal.paths() == [f"HEAD {TAG}"] * 3
    assert journal.body_bytes() == 0


async def test_a_tag_that_moved_is_fetched_by_its_new_digest(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        registry.move_tag("owner/app", "1.0", NEW)
        journal.clear()
        response, body = await mirror.get(TAG)
        assert body == NEW.manifest.data
        assert response.headers["Docker-Content-Digest"] == NEW.digest
        assert journal.paths() == [f"HEAD {TAG}", f"GET {at(NEW.digest)}"]
        # It moves back, to what is still here.
        registry.move_tag("owner/app", "1.0", OLD)
        journal.clear()
        assert (await pulled(mirror))[1] == OLD.manifest.data
        assert journal.paths() == [f"HEAD {TAG}"]
        # Nor is the other one gone.
        assert (await pulled(mirror, at(NEW.digest)))[1] == NEW.manifest.data


async def test_another_ttl_judges_the_same_records_after_a_restart(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror() as mirror:
        await pulled(mirror)
    journal.clear()
    async with start_mirror() as mirror:
        assert (await pulled(mirror))[0] == "mirror; hit"
    assert not journal.entries
    registry.move_tag("owner/app", "1.0", NEW)
    async with start_mirror(freshness=NO_TTL) as mirror:
        assert (await pulled(mirror))[1] == NEW.manifest.data
    assert journal.paths() == [f"HEAD {TAG}", f"GET {at(NEW.digest)}"]
    async with start_mirror() as mirror:
        await registry.stop()
        assert await pulled(mirror) == ("mirror; hit", NEW.manifest.data)


async def test_a_tag_that_moves_between_head_and_get_is_one_of_the_two(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    move = faults.meanwhile(lambda: registry.move_tag("owner/app", "1.0", NEW))
    registry.fault(TAG, move, method="HEAD")
    async with start_mirror(freshness=NO_TTL) as mirror:
        response, body = await mirror.get(TAG)
        assert (response.status, body) == (200, OLD.manifest.data)
        assert response.headers["Docker-Content-Digest"] == OLD.digest
        assert journal.paths() == [f"HEAD {TAG}", f"GET {at(OLD.digest)}"]
        assert (await pulled(mirror))[1] == NEW.manifest.data


@pytest.mark.parametrize("fault", [faults.content_digest(None), faults.content_digest("nonsense"), faults.status(405)])
async def test_a_head_that_does_not_tell_the_digest_is_followed_by_a_get_of_the_tag(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, fault: Fault
) -> None:
    registry.always(TAG, fault, method="HEAD")
    async with start_mirror(freshness=NO_TTL) as mirror:
        assert (await pulled(mirror))[1] == OLD.manifest.data
        assert journal.paths() == [f"HEAD {TAG}", f"GET {TAG}"]
        registry.move_tag("owner/app", "1.0", NEW)
        response, body = await mirror.get(TAG)
        assert (response.headers["Docker-Content-Digest"], body) == (NEW.digest, NEW.manifest.data)
        assert journal.paths() == [f"HEAD {TAG}", f"GET {TAG}"] * 2


async def test_a_registry_that_never_tells_digests(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.always("/v2/*", faults.content_digest(None))
    for path in (TAG, at(OLD.digest)):
        response, body = await mirror.get(path)
        assert (response.headers["Docker-Content-Digest"], body) == (OLD.digest, OLD.manifest.data)


async def test_a_head_of_a_client_is_a_get_without_body(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    response, body = await mirror.get(TAG, "HEAD")
    assert (response.status, body) == (200, b"")
    assert response.headers["Content-Length"] == str(OLD.manifest.size)
    count = len(journal.entries)
    assert (await pulled(mirror, at(OLD.digest)))[1] == OLD.manifest.data
    assert len(journal.entries) == count


# By digest. ----------------------------------------------------------------------------------------------


async def test_a_digest_is_asked_for_once_and_never_again(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        assert await pulled(mirror, at(OLD.digest)) == ("mirror; fwd=miss; stored", OLD.manifest.data)
        assert journal.paths() == [f"GET {at(OLD.digest)}"]
        registry.remove_repository("owner/app")
        await registry.stop()
        for _ in range(3):
            assert await pulled(mirror, at(OLD.digest)) == ("mirror; hit", OLD.manifest.data)
    async with start_mirror(freshness=NO_TTL) as mirror:
        assert await pulled(mirror, at(OLD.digest)) == ("mirror; hit", OLD.manifest.data)
    assert len(journal.entries) == 1


async def test_an_index_and_its_images(mirror: RunningMirror, registry: FakeRegistry, journal: Journal) -> None:
    index = content.index()
    registry.add_image("owner/multi", "1.0", index)
    response, body = await mirror.get(at("1.0", "owner/multi"))
    assert (response.headers["Content-Type"], body) == (content.OCI_INDEX, index.manifest.data)
    for child in index.images:
        assert (await pulled(mirror, at(child.digest, "owner/multi")))[1] == child.manifest.data
    assert journal.count("GET") == 1 + len(index.images)


async def test_sha512(start_mirror: StartMirror, registry: FakeRegistry, journal: Journal) -> None:
    digest = content.digest_of(OLD.manifest.data, "sha512")
    manifest = content.FakeManifest(digest, content.OCI_MANIFEST, OLD.manifest.data)
    registry.put_manifest("owner/long", manifest, "1.0")
    for expected in (1, 1):
        async with start_mirror() as mirror:
            response, body = await mirror.get(at(digest, "owner/long"))
            assert (response.status, body) == (200, OLD.manifest.data)
            assert response.headers["Docker-Content-Digest"] == digest
            assert journal.count("GET") == expected
    async with start_mirror() as mirror:
        response, body = await mirror.get(at("1.0", "owner/long"))
        assert (response.headers["Docker-Content-Digest"], body) == (digest, OLD.manifest.data)
        wrong = f"sha512:{'0' * 128}"
        registry.put_manifest("owner/long", content.FakeManifest(wrong, *_rest(manifest)))
        assert await refused(mirror, at(wrong, "owner/long")) == 502


def _rest(manifest: content.FakeManifest) -> tuple[str, bytes]:
    return manifest.media_type, manifest.data


async def test_sha512_from_a_registry_that_answers_with_sha256(mirror: RunningMirror, registry: FakeRegistry) -> None:
    digest = content.digest_of(OLD.manifest.data, "sha512")
    registry.put_manifest("owner/long", content.FakeManifest(digest, *_rest(OLD.manifest)))
    registry.always("/v2/*", faults.content_digest(OLD.digest))
    assert (await pulled(mirror, at(digest, "owner/long")))[1] == OLD.manifest.data


# A manifest that is here already, asked for in another repository. ---------------------------------------


async def test_another_repository_is_confirmed_by_one_head(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image("owner/copy", None, OLD)
    await pulled(mirror)
    journal.clear()
    status, body = await pulled(mirror, at(OLD.digest, "owner/copy"))
    assert (status, body) == ("mirror; fwd=stale; fwd-status=200; detail=access-confirmed", OLD.manifest.data)
    assert journal.paths() == [f"HEAD {at(OLD.digest, 'owner/copy')}"]
    assert (await pulled(mirror, at(OLD.digest, "owner/copy")))[0] == "mirror; hit"
    assert len(journal.entries) == 1


async def test_a_confirmation_outlives_a_restart(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image("owner/copy", None, OLD)
    async with start_mirror() as mirror:
        await pulled(mirror)
        await pulled(mirror, at(OLD.digest, "owner/copy"))
    journal.clear()
    async with start_mirror() as mirror:
        assert (await pulled(mirror, at(OLD.digest, "owner/copy")))[0] == "mirror; hit"
    assert not journal.entries


async def test_a_tag_of_another_repository_costs_no_second_download(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image("owner/copy", "2.0", OLD)
    await pulled(mirror)
    journal.clear()
    assert (await pulled(mirror, at("2.0", "owner/copy")))[1] == OLD.manifest.data
    assert journal.paths() == [f"HEAD {at('2.0', 'owner/copy')}"]


@pytest.mark.parametrize(("status", "expected"), [(404, 404), (403, 403), (401, 403)])
async def test_another_repository_that_refuses_gives_nothing(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, status: int, expected: int
) -> None:
    await pulled(mirror)
    registry.always("/v2/owner/copy/*", faults.status(status))
    registry.absent("/v2/owner/copy/*")
    journal.clear()
    for method in ("HEAD", "GET", "GET"):
        response, body = await mirror.get(at(OLD.digest, "owner/copy"), method)
        assert response.status == expected
        assert OLD.manifest.data not in body
    assert journal.paths() == [f"HEAD {at(OLD.digest, 'owner/copy')}"]


@pytest.mark.usefixtures("forgetful", "impatient")
async def test_another_upstream_that_is_out_of_order_gives_nothing(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
) -> None:
    other_registry.add_image("owner/app", None, OLD)
    upstreams = {
        "docker.io": docker_io(registry, token_service),
        "ghcr.io": docker_io(other_registry, token_service),
    }
    elsewhere = f"{at(OLD.digest)}?ns=ghcr.io"
    async with start_mirror(upstreams=upstreams) as mirror:
        await pulled(mirror, at(OLD.digest))
        await other_registry.stop()
        assert await refused(mirror, elsewhere) == 502
        await other_registry.start()
        other_registry.hang()
        assert await refused(mirror, elsewhere) == 504
        other_registry.resume()
        other_registry.fault("*", faults.status(500), faults.status(429, 5))
        assert await refused(mirror, elsewhere) == 502
        assert await refused(mirror, elsewhere) == 503
        assert (await pulled(mirror, elsewhere))[1] == OLD.manifest.data
        assert journal.count("GET", host="other") == 0
        assert (await pulled(mirror, at(OLD.digest)))[0] == "mirror; hit"


# An upstream in trouble, with a tag at hand. -------------------------------------------------------------


async def is_stale(mirror: RunningMirror) -> None:
    """Fail unless the tag is served, and says that it is stale."""
    for method in ("GET", "HEAD"):
        response, body = await mirror.get(TAG, method)
        assert response.status == 200, body
        assert body == (OLD.manifest.data if method == "GET" else b"")
        status = response.headers["Cache-Status"]
        check_cache_status(status)
        assert "fwd=stale" in status
        assert "; detail=" in status
        assert response.headers["Age"].isdecimal()
        assert response.headers["Warning"].startswith('299 - "')
        assert response.headers["Docker-Content-Digest"] == OLD.digest


TROUBLES: dict[str, Fault] = {
    "500": faults.status(500),
    "502": faults.status(502),
    "503": faults.status(503, 60),
    "504": faults.status(504),
    "429": faults.status(429, 60),
    "400": faults.status(400),
    "408": faults.status(408),
    "418": faults.status(418),
    "204": faults.answer_with(204, b""),
    "206": faults.answer_with(206, b""),
    "no answer": faults.dropped,
    "not HTTP": faults.raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
}


@pytest.mark.usefixtures("forgetful")
async def test_a_tag_goes_stale_on_a_bad_answer(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        for fault in TROUBLES.values():
            registry.always("/v2/*", fault)
            await is_stale(mirror)
            registry.heal()
            assert (await pulled(mirror))[0] == "mirror; fwd=stale; fwd-status=200"
        stale = await mirror.metric('mirror_requests_total{kind="manifest",outcome="stale",upstream="docker.io"}')
        assert stale == 2 * len(TROUBLES)


async def test_a_tag_goes_stale_when_the_upstream_is_stopped(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        await registry.stop()
        await is_stale(mirror)


@pytest.mark.usefixtures("impatient")
async def test_a_tag_goes_stale_when_the_upstream_hangs(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        registry.hang()
        await is_stale(mirror)
        registry.resume()


@pytest.fixture
async def two_endpoints(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[RunningMirror]:
    """An upstream whose first endpoint hangs; the second one is well. Deadlines are a fifth of what they are."""
    monkeypatch.setattr("mirror.upstream.endpoints.FAILOVER_WITHIN", FAILOVER_WITHIN / 5)
    monkeypatch.setattr("mirror.proxy.pull_manifest.REVALIDATE_WITHIN", REVALIDATE_WITHIN / 5)
    other_registry.add_image("owner/app", "1.0", OLD)
    upstream = docker_io(registry, token_service)
    upstream["endpoints"] = [registry.url, other_registry.url]
    async with start_mirror(freshness=NO_TTL, upstreams={"docker.io": upstream}) as mirror:
        registry.hang()
        yield mirror
        registry.resume()


async def test_an_endpoint_that_hangs_does_not_hide_the_next_one(
    two_endpoints: RunningMirror, other_registry: FakeRegistry
) -> None:
    # Cold, nothing is at hand; then there is a stale tag at hand, and less patience.
    assert await pulled(two_endpoints) == ("mirror; fwd=miss; stored", OLD.manifest.data)
    assert await pulled(two_endpoints) == ("mirror; fwd=stale; fwd-status=200", OLD.manifest.data)
    other_registry.put_blob("owner/app", OLD.layers[0])
    for method in ("HEAD", "GET"):
        response, _ = await two_endpoints.get(f"/v2/owner/app/blobs/{OLD.layers[0].digest}", method)
        assert response.status == 200


async def test_an_endpoint_that_hangs_does_not_hide_that_a_tag_moved(
    two_endpoints: RunningMirror, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    await pulled(two_endpoints)
    for one in (registry, other_registry):
        one.move_tag("owner/app", "1.0", NEW)
    assert (await pulled(two_endpoints))[1] == NEW.manifest.data


async def test_a_tag_goes_stale_when_what_it_moved_to_cannot_be_fetched(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        registry.move_tag("owner/app", "1.0", NEW)
        registry.always(at(NEW.digest), faults.wrong_bytes(), method="GET")
        await is_stale(mirror)


@pytest.mark.parametrize("fault", [faults.status(404), faults.status(403), faults.status(401)])
async def test_a_tag_goes_stale_when_what_it_moved_to_is_refused(
    start_mirror: StartMirror, registry: FakeRegistry, fault: Fault
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        registry.move_tag("owner/app", "1.0", NEW)
        registry.always(at(NEW.digest), fault, method="GET")
        await is_stale(mirror)


async def test_trouble_is_not_asked_about_with_every_request(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        journal.clear()
        registry.always("/v2/*", faults.status(429, 60))
        for _ in range(5):
            await is_stale(mirror)
    assert journal.paths() == [f"HEAD {TAG}"]


@pytest.mark.usefixtures("forgetful")
async def test_a_stale_tag_is_fresh_again_when_the_upstream_is(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
        await registry.stop()
        await is_stale(mirror)
        await registry.start()
        registry.move_tag("owner/app", "1.0", NEW)
        response, body = await mirror.get(TAG)
        assert (response.status, body) == (200, NEW.manifest.data)
        assert "Warning" not in response.headers


async def test_a_tag_is_stale_for_as_long_as_configured_and_no_longer(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror)
    await registry.stop()
    async with start_mirror(freshness={"tag_ttl": "0s", "stale_if_error": "0s"}) as mirror:
        assert await refused(mirror) == 502
    # The record is still there for whoever is more patient.
    async with start_mirror(freshness=NO_TTL) as mirror:
        await is_stale(mirror)


# An upstream in trouble, with nothing at hand. -----------------------------------------------------------


@pytest.mark.usefixtures("forgetful")
async def test_trouble_with_nothing_cached_is_5xx(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    for name, fault in TROUBLES.items():
        registry.always("/v2/*", fault)
        for path in (TAG, at(OLD.digest)):
            response, body = await mirror.get(path)
            assert response.status in ({503} if name == "429" else {502, 503}), name
            assert error_code(body) == "UNAVAILABLE"
            if name != "503":
                assert response.headers.get("Retry-After") == ("60" if name == "429" else None), name
        registry.heal()
    assert not cache_folder.digests()


async def test_an_upstream_that_is_stopped_is_502(mirror: RunningMirror, registry: FakeRegistry) -> None:
    await registry.stop()
    assert await refused(mirror) == 502
    assert await refused(mirror, at(OLD.digest)) == 502


@pytest.mark.usefixtures("impatient")
async def test_an_upstream_that_hangs_is_504(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.hang()
    assert await refused(mirror) == 504
    assert await refused(mirror, at(OLD.digest)) == 504
    registry.resume()


@pytest.mark.usefixtures("forgetful")
async def test_retry_after_is_passed_on_in_seconds(mirror: RunningMirror, registry: FakeRegistry) -> None:
    async def told(sent: str | None) -> str | None:
        registry.always("/v2/*", faults.status(429, sent))
        response, _ = await mirror.get(TAG)
        assert response.status == 503
        registry.heal()
        return response.headers.get("Retry-After")

    sent = ("0", "17", "1000000000", "9" * 20, "soon", "-5", "1.5", "", None)
    assert [await told(one) for one in sent] == ["0", "17", "3600", "3600", None, None, None, None, None]
    at_a_date = await told(format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True))
    assert at_a_date is not None
    assert 1 <= int(at_a_date) <= 600


# Refusals. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"), [(404, (404, "MANIFEST_UNKNOWN")), (403, (403, "DENIED")), (401, (403, "DENIED"))]
)
async def test_a_refusal_passes_and_the_tag_is_forgotten(
    start_mirror: StartMirror, registry: FakeRegistry, status: int, expected: tuple[int, str]
) -> None:
    async with start_mirror(freshness={"tag_ttl": "0s", "negative_ttl": "0s"}) as mirror:
        await pulled(mirror)
        registry.always("/v2/*", faults.status(status))
        response, body = await mirror.get(TAG)
        assert (response.status, error_code(body)) == expected
        # What upstream took back is not brought up again by its being down.
        await registry.stop()
        assert await refused(mirror) == 502


FAILURES: dict[str, tuple[Fault, int]] = {
    "404": (faults.status(404), 404),
    "403": (faults.status(403), 403),
    "500": (faults.status(500), 502),
    "429": (faults.status(429, 60), 503),
    "html": (faults.html, 502),
    "dropped": (faults.dropped, 502),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failed_look_up_is_remembered(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal, name: str
) -> None:
    fault, expected = FAILURES[name]
    registry.always("/v2/*", fault)
    for path in (TAG, at(OLD.digest)):
        statuses = [await refused(mirror, path, method) for method in ("HEAD", "GET", "GET", "HEAD")]
        assert statuses == [expected] * 4
        # A connection that ends may have been an old one, so the request is made once more; who says 429 is left alone.
        tries = {("dropped", TAG): 2, ("dropped", at(OLD.digest)): 2, ("429", at(OLD.digest)): 0}
        assert len(journal.entries) == tries.get((name, path), 1)
        response, _ = await mirror.get(path)
        assert "fwd=" not in response.headers["Cache-Status"]
        check_cache_status(response.headers["Cache-Status"])
        assert response.headers.get("Retry-After") == ("60" if expected == 503 else None)
        journal.clear()


async def test_a_failed_look_up_says_nothing_about_anything_else(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.absent(at("2.0"))
    assert await refused(mirror, at("2.0")) == 404
    registry.add_image("owner/app", "3.0", NEW)
    assert (await pulled(mirror))[1] == OLD.manifest.data
    assert (await pulled(mirror, at("3.0")))[1] == NEW.manifest.data
    assert (await pulled(mirror, at(OLD.digest)))[1] == OLD.manifest.data


async def test_a_digest_that_was_not_there_a_moment_ago_does_not_spoil_the_tag(
    mirror: RunningMirror, registry: FakeRegistry
) -> None:
    registry.absent(at(NEW.digest))
    for method in ("HEAD", "GET"):
        assert await refused(mirror, at(NEW.digest), method) == 404
    registry.add_image("owner/app", "2.0", NEW)
    # Upstream itself names it now.
    assert (await pulled(mirror, at("2.0")))[1] == NEW.manifest.data
    assert (await pulled(mirror, at(NEW.digest)))[1] == NEW.manifest.data


async def test_a_tag_that_appears_is_seen_after_the_negative_ttl(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    registry.absent(at("2.0"))
    async with start_mirror(freshness={"negative_ttl": "0s"}) as mirror:
        assert await refused(mirror, at("2.0")) == 404
        registry.add_image("owner/app", "2.0", NEW)
        assert (await pulled(mirror, at("2.0")))[1] == NEW.manifest.data


# Many at once. -------------------------------------------------------------------------------------------


async def test_twenty_clients_pull_a_cold_image(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    image = content.image(layers=5, size=[100_000, 5_000, 2_000_000, 1, 300_000], seed="large")
    registry.add_image("library/alpine", "3.20", image)
    registry.auth = TokenAuth(token_service)
    tag = "/v2/library/alpine/manifests/3.20"
    gate = Gate()
    registry.fault(tag, faults.hold(gate), method="HEAD")

    async def pull() -> None:
        assert (await pulled(mirror, tag))[1] == image.manifest.data
        paths = [f"/v2/library/alpine/blobs/{blob.digest}" for blob in image.blobs]
        answers = await asyncio.gather(*(pulled(mirror, path) for path in paths))
        assert [body for _, body in answers] == [blob.data for blob in image.blobs]

    clients = [asyncio.create_task(pull()) for _ in range(20)]
    await gate.reached()
    gate.open()
    await asyncio.gather(*clients)

    story = [f"{one.host} {one.method} {one.path} {one.authorization} {one.status}" for one in journal.entries]
    assert story[:4] == [
        f"registry HEAD {tag} none 401",
        "tokens GET /token none 200",
        f"registry HEAD {tag} bearer 200",
        f"registry GET /v2/library/alpine/manifests/{image.digest} bearer 200",
    ]
    assert Counter(story[4:]) == {
        f"registry GET /v2/library/alpine/blobs/{blob.digest} bearer 200": 1 for blob in image.blobs
    }
    assert journal.body_bytes("/v2/*/blobs/*") == sum(blob.size for blob in image.blobs)
    outcomes = {
        outcome: await mirror.metric(
            f'mirror_requests_total{{kind="manifest",outcome="{outcome}",upstream="docker.io"}}'
        )
        for outcome in ("miss", "collapsed", "hit")
    }
    assert outcomes["miss"] == 1
    assert sum(outcomes.values()) == 20


async def test_everyone_who_waits_gets_the_same_error(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    gate = Gate()
    registry.fault(TAG, faults.both(faults.status(500), faults.hold(gate)))
    clients = [asyncio.create_task(mirror.get(TAG)) for _ in range(20)]
    await gate.reached()
    gate.open()
    answers = await asyncio.gather(*clients)
    assert {(response.status, error_code(body)) for response, body in answers} == {(502, "UNAVAILABLE")}
    assert journal.paths() == [f"HEAD {TAG}"]


async def test_a_client_that_leaves_takes_nothing_from_the_others(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    gate = Gate()
    registry.fault(TAG, faults.hold(gate), method="HEAD")
    first, second = (asyncio.create_task(mirror.get(TAG)) for _ in range(2))
    await gate.reached()
    first.cancel()
    await asyncio.wait([first])
    gate.open()
    response, body = await second
    assert (response.status, body) == (200, OLD.manifest.data)
    assert journal.paths() == [f"HEAD {TAG}", f"GET {at(OLD.digest)}"]


async def test_the_accept_header_of_a_client_does_not_choose_what_is_cached(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    index = content.index()
    registry.add_image("owner/multi", "1.0", index)
    for accept in ("*/*", content.OCI_INDEX, f"{content.OCI_MANIFEST}, {content.OCI_INDEX};q=0.5"):
        response, body = await mirror.get(at("1.0", "owner/multi"), headers={"Accept": accept})
        assert (response.status, body) == (200, index.manifest.data)
    assert len(journal.entries) == 2
    assert json.loads(index.manifest.data)["mediaType"] == content.OCI_INDEX
