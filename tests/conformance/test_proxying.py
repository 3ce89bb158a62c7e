"""Registry proxying: what came into the spec behind 1.1 for registries that stand before others."""

from __future__ import annotations

import pytest

from tests.conformance.site import Site
from tests.fakes import content, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_proxy_returns_the_namespace(site: Site) -> None:
    image = content.image(layers=1, seed="namespace")
    site.add(image, "1.0")
    for path in ("manifests/1.0", f"blobs/{image.layers[0].digest}", "manifests/unknown"):
        for method in ("GET", "HEAD"):
            assert (await site.get(f"{path}?ns=docker.io", method)).headers["oci-namespace"] == "docker.io"
            assert "oci-namespace" not in (await site.get(path, method)).headers


async def test_proxy_passes_no_credentials_on(site: Site) -> None:
    image = content.image(layers=1, seed="credentials")
    site.add(image, "1.0")
    for path in ("manifests/1.0", f"blobs/{image.layers[0].digest}"):
        assert (await site.get(path, Authorization="Basic Y2xpZW50OnNlY3JldA==")).status == 200
    assert site.asked() > 0
    assert site.registry.journal.count(path=site.at("*"), authorization="none") == site.asked()


async def test_proxy_tells_when_to_come_back(site: Site) -> None:
    site.spoil("manifests/1.0", faults.status(429, 17))
    reply = await site.get("manifests/1.0")
    # Not 429: containerd asks that again at once, five times. What upstream said is still told.
    assert (reply.status, reply.headers["retry-after"]) == (503, "17")
