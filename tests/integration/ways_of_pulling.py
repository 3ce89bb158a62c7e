"""How clients ask for the manifests of an image they have nothing of (clients.md), against a mirror or a registry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp

from mirror.oci.media_types import MANIFEST_TYPES

ACCEPT = {"Accept": ", ".join(MANIFEST_TYPES)}


class Client:
    """A client that may be had anew for each pull; counts what it asks, and what it was answered by status."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.asked: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.said: Counter[str] = Counter()

    async def dockerd(self, repository: str, tag: str, architecture: str) -> None:
        """HEAD the tag, GET what it is by digest, GET the image in it by digest."""
        found = await self._ask("HEAD", repository, tag)
        if found is None:
            return
        digest, _ = found
        index = await self._ask("GET", repository, digest)
        if index is not None:
            await self._ask("GET", repository, child(index[1], architecture))

    async def podman(self, repository: str, tag: str, architecture: str) -> None:
        """GET the tag, GET the image in it by digest."""
        index = await self._ask("GET", repository, tag)
        if index is not None:
            await self._ask("GET", repository, child(index[1], architecture))

    async def _ask(self, method: str, repository: str, reference: str) -> tuple[str, bytes] | None:
        url = f"{self._url}/v2/{repository}/manifests/{reference}"
        async with self._session.request(method, url, headers=ACCEPT) as response:
            body = await response.read()
            self.asked[method] += 1
            self.answered[response.status] += 1
            self.said[response.headers.get("Cache-Status", "")] += 1
            return (response.headers["Docker-Content-Digest"], body) if response.status == 200 else None


Way = Callable[[Client, str, str, str], Awaitable[None]]

WAYS: dict[str, Way] = {"dockerd": Client.dockerd, "podman": Client.podman}


def child(index: bytes, architecture: str) -> str:
    """The digest of the image for this architecture."""
    [digest] = [
        str(entry["digest"])
        for entry in json.loads(index)["manifests"]
        if entry["platform"]["architecture"] == architecture
    ]
    return digest
