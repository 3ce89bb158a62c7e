"""Referrers: upstream's descriptors, filtered here, found by their tag where there is no API, kept for outages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes import content, faults
from tests.fakes.content import OCI_INDEX, FakeManifest
from tests.fakes.journal import Journal
from tests.fakes.listing import ABSOLUTE, Pages
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.integration.asking import ask, check_cache_status, refusals, refused
from tests.integration.conftest import RunningMirror, StartMirror

IMAGE = content.image(layers=1)
SIGNATURES = [content.image(layers=1, seed=f"signature {number}", subject=IMAGE.manifest) for number in range(3)]
PATH = f"/v2/owner/app/referrers/{IMAGE.digest}"
TAG = IMAGE.digest.replace(":", "-")
BY_TAG = f"/v2/owner/app/manifests/{TAG}"
TYPE = content.OCI_CONFIG
NO_TTL = {"tag_ttl": "0s"}


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry) -> None:
    for image in (IMAGE, *SIGNATURES):
        registry.add_image("owner/app", None, image)


async def referrers(mirror: RunningMirror, path: str = PATH) -> tuple[str, list[dict[str, Any]]]:
    """Cache-Status and descriptors of an answer that must be a whole index."""
    response, body = await mirror.get(path)
    assert response.status == 200, body
    assert response.headers["Content-Type"] == OCI_INDEX
    assert int(response.headers["Age"]) >= 0
    assert "Docker-Content-Digest" not in response.headers
    check_cache_status(response.headers["Cache-Status"])
    document = json.loads(body)
    assert (document["schemaVersion"], document["mediaType"]) == (2, OCI_INDEX)
    return response.headers["Cache-Status"], document["manifests"]


def by_digest(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["digest"]: one for one in found}


def index(*descriptors: dict[str, object]) -> FakeManifest:
    """An index as clients push it under the referrers' tag."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(descriptors)}
    return content.manifest(document, OCI_INDEX)


# The API. --------------------------------------------------------------------------------------------------


async def test_referrers_are_passed_through_and_kept(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    status, found = await referrers(mirror)
    assert status == "mirror; fwd=miss; stored"
    assert by_digest(found) == by_digest(registry.repositories["owner/app"].referrers(IMAGE.digest))
    assert await referrers(mirror) == ("mirror; hit", found)
    assert journal.paths() == [f"GET {PATH}"]


async def test_upstreams_pages_become_one_index(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.pages = Pages(size=1, link=ABSOLUTE)
    response, body = await mirror.get(PATH)
    assert len(json.loads(body)["manifests"]) == 3
    assert "Link" not in response.headers


QUERIES = {
    "": (3, None),
    "?artifactType=": (3, None),
    f"?artifactType={TYPE}": (3, "artifactType"),
    f"?artifactType={TYPE.replace('+', '%2B').replace('/', '%2F')}&ns=docker.io": (3, "artifactType"),
    "?artifactType=application/vnd.example": (0, "artifactType"),
    f"?artifactType=application/vnd.example&artifactType={TYPE}": (3, "artifactType"),
}


async def test_filters_are_applied_here(mirror: RunningMirror, journal: Journal) -> None:
    answers = {}
    for query in QUERIES:
        response, body = await mirror.get(PATH + query)
        answers[query] = (len(json.loads(body)["manifests"]), response.headers.get("OCI-Filters-Applied"))
    assert answers == QUERIES
    assert [entry.query for entry in journal.entries] == ["ns=docker.io"]


async def test_a_head_is_a_get_without_its_body(mirror: RunningMirror) -> None:
    head, get = await ask(mirror, PATH, "HEAD"), await ask(mirror, PATH)
    assert (head.head.status, head.body) == (200, b"")
    assert head.head.headers["content-length"] == str(len(get.body))
    assert head.head.headers["content-type"] == OCI_INDEX


async def test_nothing_that_refers_to_it_is_an_empty_index(mirror: RunningMirror, journal: Journal) -> None:
    path = PATH.replace(IMAGE.digest, SIGNATURES[0].digest)
    assert await referrers(mirror, path) == ("mirror; fwd=miss; stored", [])
    assert await referrers(mirror, path) == ("mirror; hit", [])
    assert len(journal.entries) == 1


async def test_what_is_no_digest_is_refused_and_nobody_is_asked(mirror: RunningMirror, journal: Journal) -> None:
    bad = {f"/v2/owner/app/referrers/{reference}": (400, "DIGEST_INVALID") for reference in ("latest", TAG, "sha256:0")}
    assert await refusals(mirror, bad) == bad
    assert not journal.entries


# By their tag. ---------------------------------------------------------------------------------------------


async def test_where_there_is_no_api_the_tag_is_asked(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.supports_referrers = False
    descriptor: dict[str, object] = {
        "mediaType": "x",
        "digest": "sha256:0",
        "size": 1,
        "artifactType": "a/b",
        "y": [1.5],
    }
    listed = index(descriptor)
    registry.put_manifest("owner/app", listed, TAG)
    assert await referrers(mirror) == ("mirror; fwd=miss; stored", [descriptor])
    assert await referrers(mirror, f"{PATH}?artifactType=a/b") == ("mirror; hit", [descriptor])
    assert await referrers(mirror, f"{PATH}?artifactType=a/c") == ("mirror; hit", [])
    assert journal.paths() == [f"GET {PATH}", f"HEAD {BY_TAG}", f"GET /v2/owner/app/manifests/{listed.digest}"]


async def test_no_on_both_ways_is_an_empty_index_and_costs_nothing_again(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.supports_referrers = False
    registry.absent(BY_TAG)
    assert await referrers(mirror) == ("mirror; fwd=miss; stored", [])
    assert await referrers(mirror) == ("mirror; hit", [])
    assert journal.paths() == [f"GET {PATH}", f"HEAD {BY_TAG}"]


# Trouble. --------------------------------------------------------------------------------------------------

TROUBLE: dict[str, tuple[Fault, tuple[int, str]]] = {
    "429": (faults.status(429), (503, "UNAVAILABLE")),
    "500": (faults.status(500), (502, "UNAVAILABLE")),
    "503": (faults.status(503), (502, "UNAVAILABLE")),
    "400": (faults.status(400), (502, "UNAVAILABLE")),
    "HTML": (faults.html, (502, "UNAVAILABLE")),
    "a manifest": (faults.content_type(content.OCI_MANIFEST), (502, "UNAVAILABLE")),
    "not JSON": (faults.other_body(b"{"), (502, "UNAVAILABLE")),
    "no list": (faults.other_body(b'{"schemaVersion": 2}'), (502, "UNAVAILABLE")),
    "cut": (faults.cut_at(10), (502, "UNAVAILABLE")),
    "403": (faults.status(403), (403, "DENIED")),
    "401": (faults.status(401), (403, "DENIED")),
}


@pytest.mark.usefixtures("undaunted")
async def test_a_failure_is_never_turned_into_none(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    answers = {}
    for number, (trouble, (fault, _)) in enumerate(TROUBLE.items()):
        registry.add_image(f"owner/app{number}", None, IMAGE)
        path = PATH.replace("owner/app", f"owner/app{number}")
        registry.fault(path, fault)
        answers[trouble] = await refused(mirror, path)
        assert await refused(mirror, path) == answers[trouble]
    assert answers == {trouble: answer for trouble, (_, answer) in TROUBLE.items()}
    assert journal.count() == len(TROUBLE)


@pytest.mark.parametrize("trouble", ["429", "403"])
async def test_a_failure_on_the_second_way_is_none_either(
    mirror: RunningMirror, registry: FakeRegistry, trouble: str
) -> None:
    fault, answer = TROUBLE[trouble]
    registry.supports_referrers = False
    registry.absent(BY_TAG)
    registry.fault(BY_TAG, fault)
    assert await refused(mirror, PATH) == answer


async def test_a_tag_that_leads_to_an_image_is_no_list(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.supports_referrers = False
    registry.put_manifest("owner/app", SIGNATURES[0].manifest, TAG)
    assert await refused(mirror, PATH) == (502, "UNAVAILABLE")


async def test_a_tag_that_is_taken_for_the_digest_is_no_list_either(
    mirror: RunningMirror, registry: FakeRegistry
) -> None:
    registry.supports_referrers = False
    registry.put_manifest("owner/app", IMAGE.manifest, TAG)
    assert (await referrers(mirror))[1] == []


async def test_an_outage_is_outlasted_across_a_restart(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    nothing, unknown = (PATH.replace(IMAGE.digest, SIGNATURES[number].digest) for number in range(2))
    async with start_mirror() as mirror:
        kept = {path: (await referrers(mirror, path))[1] for path in (PATH, nothing)}
    await registry.stop()
    async with start_mirror(freshness=NO_TTL) as mirror:
        for path, found in kept.items():
            for _ in range(2):
                assert await referrers(mirror, path) == ("mirror; fwd=stale; detail=upstream-unavailable", found)
        assert await refused(mirror, unknown) == (502, "UNAVAILABLE")
