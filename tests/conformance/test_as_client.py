"""The rules for clients: the mirror is one, of its upstreams."""

from __future__ import annotations

import pytest

from mirror.oci.media_types import MANIFEST_TYPES
from tests.conformance.site import Site
from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.content import OCI_INDEX, OCI_MANIFEST
from tests.integration.asking import error_code
from tests.integration.raw_http import raw_client

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_client_sends_accept(site: Site) -> None:
    digest = site.add(content.image(seed="accept"), "1.0")
    await site.get("manifests/1.0", Accept="text/html")
    await site.get(f"manifests/{digest}")
    entries = site.registry.journal.select(path=site.at("manifests/*"))
    assert entries
    assert {entry.header("Accept") for entry in entries} == {", ".join(MANIFEST_TYPES)}


async def test_client_ignores_parameters(site: Site) -> None:
    image = content.image(seed="ignored parameters")
    site.add(image, "1.0")
    site.spoil(f"manifests/{image.digest}", faults.content_type(f'{OCI_MANIFEST};version="1"; charset=utf-8'))
    assert (await site.get("manifests/1.0")).body == image.manifest.data


async def test_client_rejects_another_media_type(site: Site) -> None:
    digest = site.add(content.image(seed="another media type"), "1.0")
    site.spoil(f"manifests/{digest}", faults.content_type(OCI_INDEX))
    for reference in ("1.0", digest):
        reply = await site.get(f"manifests/{reference}")
        assert (reply.status, error_code(reply.body)) == (502, "UNAVAILABLE")


async def test_client_verifies_the_told_digest(site: Site) -> None:
    site.add(content.image(seed="told"), "1.0")
    other = content.image(seed="not told").digest
    # The tag's own bytes, under another digest than they have: no HEAD tells, so the tag itself is fetched.
    site.spoil("manifests/1.0", faults.status(405), method="HEAD")
    site.spoil("manifests/1.0", faults.content_digest(other), method="GET")
    reply = await site.get("manifests/1.0")
    assert (reply.status, error_code(reply.body)) == (502, "UNAVAILABLE")


async def test_client_verifies_the_asked_digest(site: Site) -> None:
    image = content.image(seed="asked")
    site.add(image)
    site.spoil(f"manifests/{image.digest}", faults.other_body(content.image(seed="not asked").manifest.data))
    reply = await site.get(f"manifests/{image.digest}")
    assert (reply.status, error_code(reply.body)) == (502, "UNAVAILABLE")


async def test_client_verifies_blobs(site: Site) -> None:
    small, large = content.blob(1000, "verified small"), content.blob(3_000_000, "verified large")
    site.spoil("blobs/*", faults.wrong_bytes())
    site.add(small)
    site.add(large)
    assert (await site.get(f"blobs/{small.digest}")).status == 502
    # What is too large to be verified before it is sent has no end.
    async with raw_client(site.mirror) as client:
        await client.ask(site.at(f"blobs/{large.digest}"))
        answer = await client.answer()
    assert (answer.head.status, answer.whole) == (200, False)


async def test_client_takes_older_registries(site: Site) -> None:
    image = content.image(layers=1, seed="older")
    site.add(image, "1.0")
    for name in ("Docker-Content-Digest", "Docker-Distribution-Api-Version", "ETag"):
        site.spoil("*", faults.header(name, None))
    site.registry.fault(site.at("manifests/1.0"), faults.status(405), faults.content_digest(None))
    for path, data in (
        ("manifests/1.0", image.manifest.data),
        (f"manifests/{image.digest}", image.manifest.data),
        (f"blobs/{image.layers[0].digest}", image.layers[0].data),
    ):
        assert (await site.get(path)).body == data


async def test_client_needs_no_legacy_headers(site: Site) -> None:
    image = content.image(layers=1, seed="legacy headers")
    site.add(image, "1.0")

    def bare(answer: Answer) -> Answer:
        return answer.with_header("Docker-Content-Digest", None).with_header("Docker-Distribution-Api-Version", None)

    site.spoil("*", bare)
    assert (await site.get("manifests/1.0")).body == image.manifest.data
    assert (await site.get(f"blobs/{image.layers[0].digest}")).body == image.layers[0].data


async def test_client_needs_no_legacy_error_codes(site: Site) -> None:
    for number, code in enumerate(("TAG_INVALID", "MANIFEST_UNVERIFIED", "UNAUTHORIZED", "NOBODY_KNOWS_THIS_ONE")):
        site.spoil(f"manifests/v{number}", faults.status(404, error_code=code))
        reply = await site.get(f"manifests/v{number}")
        assert (reply.status, error_code(reply.body)) == (404, "MANIFEST_UNKNOWN"), code


async def test_client_does_nothing_about_warnings(site: Site) -> None:
    image = content.image(layers=1, seed="warned")
    site.add(image, "1.0")
    site.spoil("*", faults.header("Warning", '299 - "this image is deprecated and will be removed soon"'))
    for path in ("manifests/1.0", f"blobs/{image.layers[0].digest}"):
        for _ in ("cold", "warm"):
            reply = await site.get(path)
            assert reply.status == 200
            assert "stale" not in reply.headers["cache-status"] or "fwd-status=200" in reply.headers["cache-status"]
            # It was said of upstream's answer, not of this one.
            assert "warning" not in reply.headers
