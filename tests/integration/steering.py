"""A mirror's admin API, as the commands and others call it."""

from __future__ import annotations

from typing import Any

from tests.fakes.content import FakeImage
from tests.integration.command import Serving
from tests.integration.conftest import RunningMirror
from tests.integration.waiting import until_metric

REPOSITORY = "library/alpine"


async def call(mirror: RunningMirror, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """Return the status and the document of an answer of the API."""
    async with mirror.session.request(method, f"{mirror.admin_url}/api/v1/{path}", **options) as response:
        return response.status, await response.json()


async def done(mirror: RunningMirror, method: str, path: str, **options: Any) -> Any:
    """Return the document of an answer that is well."""
    status, document = await call(mirror, method, path, **options)
    assert status == 200, document
    return document


async def pin(mirror: RunningMirror, image: str) -> Any:
    """Pin an image."""
    return await done(mirror, "POST", "pins", json={"image": image})


async def listed(mirror: RunningMirror, text: str = "") -> dict[str, Any]:
    """Return the images by their names."""
    document = await done(mirror, "GET", "images", params={"filter": text})
    return {image["image"]: image for image in document["images"]}


async def pull(mirror: RunningMirror, reference: str, *images: FakeImage, name: str = REPOSITORY) -> None:
    """Pull a tag, and these images of it with all they hold, as clients do."""
    await get(mirror, f"/v2/{name}/manifests/{reference}")
    for image in images:
        await get(mirror, f"/v2/{name}/manifests/{image.digest}")
        for blob in image.blobs:
            await get(mirror, f"/v2/{name}/blobs/{blob.digest}")
            await until_metric(mirror, "mirror_fills_in_flight", 0)


async def get(mirror: RunningMirror, path: str) -> str:
    """Get something that is there; return the Cache-Status."""
    response, body = await mirror.get(path)
    assert response.status == 200, (path, body[:200])
    return response.headers["Cache-Status"]


async def steer(mirror: Serving, method: str, path: str, **options: Any) -> Any:
    """Return the document of an answer that is well, of a mirror that is a process of its own."""
    url = f"http://{mirror.address('admin')}/api/v1/{path}"
    async with mirror.session.request(method, url, **options) as response:
        document = await response.json()
        assert response.status == 200, document
        return document
