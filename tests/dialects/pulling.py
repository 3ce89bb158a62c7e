"""How clients pull: dockerd asks what a tag is and fetches that, Podman fetches the tag."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.fakes.content import ALL_TYPES, FakeImage, FakeIndex
from tests.integration.asking import error_code
from tests.integration.conftest import RunningMirror

ACCEPT = {"Accept": ", ".join(ALL_TYPES)}


class Client:
    """Pulls repositories of one upstream through the mirror."""

    def __init__(self, mirror: RunningMirror, upstream: str) -> None:
        self._mirror = mirror
        self._upstream = upstream

    async def as_docker(self, repository: str, tag: str, expected: FakeImage | FakeIndex) -> None:
        """Pull it all, and fail unless every byte is right."""
        response, _ = await self.ask(f"{repository}/manifests/{tag}", "HEAD")
        assert response.status == 200, response.headers
        assert response.headers["Docker-Content-Digest"] == expected.digest
        await self._manifest(repository, expected.digest, expected)
        await self._rest(repository, expected)

    async def as_podman(self, repository: str, tag: str, expected: FakeImage | FakeIndex) -> None:
        """Pull it all, and fail unless every byte is right."""
        await self._manifest(repository, tag, expected)
        await self._rest(repository, expected)

    async def tags(self, repository: str) -> list[str]:
        """Return the tags there are."""
        return list((await self._listed(f"{repository}/tags/list"))["tags"])

    async def referrers(self, repository: str, image: FakeImage | FakeIndex) -> list[str]:
        """Return the digests of what refers to an image."""
        listed = await self._listed(f"{repository}/referrers/{image.digest}")
        return [one["digest"] for one in listed["manifests"]]

    async def refusal(self, path: str) -> tuple[int, str, str]:
        """Return the status, the code and the message of an answer that must be an error, and is one for HEAD too."""
        response, body = await self.ask(path)
        head, _ = await self.ask(path, "HEAD")
        assert head.status == response.status
        assert error_code(body)
        [error] = json.loads(body)["errors"]
        return response.status, error["code"], error["message"]

    async def ask(self, path: str, method: str = "GET") -> tuple[Any, bytes]:
        """Return the answer for what is at this path behind the name of the upstream."""
        return await self._mirror.get(f"/v2/{self._upstream}/{path}", method, headers=ACCEPT)

    async def _listed(self, path: str) -> dict[str, Any]:
        response, body = await self.ask(path)
        assert response.status == 200, body
        document: dict[str, Any] = json.loads(body)
        return document

    async def _manifest(self, repository: str, reference: str, expected: FakeImage | FakeIndex) -> None:
        response, body = await self.ask(f"{repository}/manifests/{reference}")
        assert (response.status, body) == (200, expected.manifest.data)
        assert response.headers["Content-Type"] == expected.manifest.media_type
        assert response.headers["Docker-Content-Digest"] == expected.digest

    async def _rest(self, repository: str, expected: FakeImage | FakeIndex) -> None:
        children = images(expected)
        await asyncio.gather(
            *(self._manifest(repository, child.digest, child) for child in children if child is not expected),
            *(self._blob(repository, blob.digest, blob.data) for child in children for blob in child.blobs),
        )

    async def _blob(self, repository: str, digest: str, expected: bytes) -> None:
        response, body = await self.ask(f"{repository}/blobs/{digest}")
        assert (response.status, body) == (200, expected)


def images(content: FakeImage | FakeIndex) -> tuple[FakeImage, ...]:
    """Return the images of an index, or the image itself."""
    return content.images if isinstance(content, FakeIndex) else (content,)
