"""What a registry has to support, how that is found out, and what cannot be had: everything that changes something."""

from __future__ import annotations

import pytest

from tests.conformance.site import Site
from tests.fakes import content
from tests.integration.asking import error_code

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIGEST = "sha256:" + "0" * 64


async def test_support_of_pull(site: Site) -> None:
    image = content.image(layers=2, seed="support")
    site.add(image, "1.0")
    assert (await site.ask("/v2/")).status == 200
    for path in ("manifests/1.0", f"manifests/{image.digest}", *(f"blobs/{blob.digest}" for blob in image.blobs)):
        for method in ("HEAD", "GET"):
            assert (await site.get(path, method)).status == 200


async def test_support_is_told_at_v2(site: Site) -> None:
    for path in ("/v2/", "/v2"):
        for method in ("GET", "HEAD"):
            reply = await site.ask(path, method)
            assert reply.status == 200
            # Optional, and what older clients look for.
            assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
    assert site.asked() == 0


async def refused(site: Site, path: str) -> None:
    """Fail unless a DELETE of this path, which exists, is refused and changes nothing."""
    assert (await site.get(path)).status == 200
    reply = await site.get(path, "DELETE")
    assert (reply.status, error_code(reply.body)) == (405, "UNSUPPORTED")
    assert site.asked(method="DELETE") == 0
    assert (await site.get(path)).status == 200


async def test_deletion_of_tags_is_refused(site: Site) -> None:
    site.add(content.image(seed="tag"), "1.0")
    await refused(site, "manifests/1.0")


async def test_deletion_of_manifests_is_refused(site: Site) -> None:
    await refused(site, f"manifests/{site.add(content.image(seed='manifest'))}")


async def test_deletion_of_blobs_is_refused(site: Site) -> None:
    await refused(site, f"blobs/{site.add(content.blob(1000, 'deleted'))}")


async def test_push_is_refused(site: Site) -> None:
    ways = {
        "POST": ("blobs/uploads/", f"blobs/uploads/?digest={DIGEST}", f"blobs/uploads/?mount={DIGEST}&from=other/app"),
        "PATCH": ("blobs/uploads/1",),
        "PUT": (f"blobs/uploads/1?digest={DIGEST}", "manifests/1.0"),
    }
    for method, paths in ways.items():
        for path in paths:
            reply = await site.get(path, method)
            assert (reply.status, error_code(reply.body)) == (405, "UNSUPPORTED")
            assert reply.headers["allow"] == "GET, HEAD"
    assert site.asked() == 0
