"""Error codes: of every error there is, whoever is at fault."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conformance.site import Reply, Site
from tests.fakes import content, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABSENT = "sha256:" + "0" * 64
CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}


async def errors(site: Site) -> dict[str, Reply]:
    """One answer of each kind of error, by what was asked."""
    image = content.image(layers=1, seed="errors")
    site.add(image, "1.0")
    blob = f"blobs/{image.layers[0].digest}"
    site.spoil("manifests/denied", faults.status(401))
    site.spoil("manifests/busy", faults.status(429, 60))
    site.spoil("manifests/broken", faults.status(500))
    await site.get(blob)
    return {
        "an unknown manifest": await site.get("manifests/unknown"),
        "an unknown blob": await site.get(f"blobs/{ABSENT}"),
        "an invalid name": await site.ask("/v2/INVALID/manifests/1.0"),
        "an invalid digest": await site.get("manifests/sha256:1"),
        "an invalid tag": await site.get("manifests/.hidden"),
        "an unknown registry": await site.get("manifests/1.0?ns=quay.io"),
        "an unknown path": await site.ask("/v2/_catalog"),
        "an invalid page": await site.get("tags/list?n=-1"),
        "a list of an unknown repository": await site.with_repository(f"{site.repository}/none").get("tags/list"),
        "a denied repository": await site.get("manifests/denied"),
        "a range behind the end": await site.get(blob, Range="bytes=999999-"),
        "a condition that fails": await site.get(blob, If_Match='"x"'),
        "a push": await site.get("blobs/uploads/", "POST"),
        "an upstream that limits": await site.get("manifests/busy"),
        "an upstream that fails": await site.get("manifests/broken"),
    }


def listed(reply: Reply) -> list[dict[str, Any]]:
    """The errors of an error document."""
    document: dict[str, list[dict[str, Any]]] = json.loads(reply.body)
    return document["errors"]


async def test_errors_have_the_format(site: Site) -> None:
    for asked, reply in (await errors(site)).items():
        assert 400 <= reply.status < 600, asked
        assert reply.headers["content-type"] == "application/json", asked
        assert set(json.loads(reply.body)) == {"errors"}, asked
        for error in listed(reply):
            assert {"code"} <= set(error) <= {"code", "message", "detail"}, asked


async def test_errors_have_codes_in_capitals(site: Site) -> None:
    for asked, reply in (await errors(site)).items():
        assert all(re.fullmatch(r"[A-Z_]+", error["code"]) for error in listed(reply)), asked
        assert listed(reply), asked


async def test_errors_can_be_read_by_people(site: Site) -> None:
    for asked, reply in (await errors(site)).items():
        for error in listed(reply):
            assert re.fullmatch(r"[ -~]{5,200}", error["message"]), asked
            assert " " in error["message"], asked


async def test_errors_have_codes_of_the_list(site: Site) -> None:
    for asked, reply in (await errors(site)).items():
        # The spec speaks of 4xx; it has no code for what UNAVAILABLE says with a 5xx.
        known = CODES if reply.status < 500 else {"UNAVAILABLE"}
        assert {error["code"] for error in listed(reply)} <= known, asked
