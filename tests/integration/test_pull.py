"""A pull, cold and warm, through the whole mirror."""

from __future__ import annotations

from tests.fakes import content
from tests.fakes.auth import TokenAuth
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.conftest import RunningMirror
from tests.integration.waiting import until_metric


async def test_a_cold_pull_and_a_warm_one(
    registry: FakeRegistry, token_service: FakeTokenService, journal: Journal, mirror: RunningMirror
) -> None:
    image = content.image(layers=2, size=200_000)
    registry.add_image("library/alpine", "3.20", image)
    registry.auth = TokenAuth(token_service)

    for expected in ("fwd=miss", "hit"):
        response, body = await mirror.get("/v2/library/alpine/manifests/3.20")
        assert (response.status, body) == (200, image.manifest.data)
        assert expected in response.headers["Cache-Status"]
        for blob in image.blobs:
            response, body = await mirror.get(f"/v2/library/alpine/blobs/{blob.digest}")
            assert (response.status, body) == (200, blob.data)
            assert expected in response.headers["Cache-Status"]
        # A client has its last bytes as soon as they are verified; the disk may take longer.
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        if expected == "fwd=miss":
            journal.clear()
    assert not journal.entries
