"""A mirror that is asked for the image of a place, twice, and what came of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.integration.asking import check_cache_status, error_code
from tests.integration.conftest import RunningMirror
from tests.integration.outages.place import REPOSITORY, TAG, Place

_SPENT = re.compile(r'mirror_(upstream|token)_requests_total\{[^}]*upstream="([^"]+)"[^}]*\} ([0-9.]+)')


@dataclass(frozen=True, slots=True)
class Spent:
    """How many requests went to the registry, and how many tokens were asked for."""

    registry: int
    tokens: int

    def __sub__(self, before: Spent) -> Spent:
        return Spent(self.registry - before.registry, self.tokens - before.tokens)

    def __str__(self) -> str:
        return f"{self.registry}+{self.tokens}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer; `seconds` until it was there, `is_known` if it is the image that was there before the fault."""

    status: int
    code: str
    cache_status: str
    retry_after: int | None
    seconds: float
    is_known: bool


class Story:
    """What one mirror does about one place."""

    def __init__(self, mirror: RunningMirror, place: Place, log: list[MutableMapping[str, Any]]) -> None:
        self.place = place
        self.is_cached = False
        self._mirror = mirror
        self._log = log

    async def cache(self) -> None:
        """Have the image in the cache, all of it."""
        await self._get(f"manifests/{TAG}")
        for blob in self.place.image.blobs:
            await self._get(f"blobs/{blob.digest}")
        await self.quiet()
        self.is_cached = True

    async def pull(self) -> Outcome:
        """Ask for the tag."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        response, body = await self._ask(f"manifests/{TAG}")
        seconds = loop.time() - started
        check_cache_status(response.headers["Cache-Status"])
        retry_after = response.headers.get("Retry-After")
        return Outcome(
            response.status,
            "" if response.status == 200 else error_code(body),
            response.headers["Cache-Status"],
            None if retry_after is None else int(retry_after),
            seconds,
            response.headers.get("Docker-Content-Digest") == self.place.image.digest,
        )

    async def quiet(self) -> None:
        """Wait until the mirror does nothing about the place any more."""
        async with asyncio.timeout(45):
            while any(self.place.name in task.get_name() for task in asyncio.all_tasks()):  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.01)

    def served_by(self) -> str:
        """Return the name of who gave a manifest last."""
        entries = self.place.journal.select("GET", "*/manifests/*", status=200)
        return entries[-1].host if entries else ""

    async def layer_is_there(self) -> bool:
        """Tell whether a layer of an image that is cached comes from the cache."""
        if not self.is_cached:
            return False
        response, _ = await self._ask(f"blobs/{self.place.image.layers[0].digest}")
        return (response.status, response.headers["Cache-Status"]) == (200, "mirror; hit")

    async def _get(self, what: str) -> None:
        response, body = await self._ask(what)
        assert response.status == 200, (self.place.name, body)

    async def _ask(self, what: str) -> tuple[aiohttp.ClientResponse, bytes]:
        return await self._mirror.get(f"/v2/{REPOSITORY}/{what}?ns={self.place.name}")

    async def spent(self) -> Spent:
        """Return what the mirror has asked of the place so far, be it in vain."""
        url = f"{self._mirror.admin_url}/metrics"
        async with self._mirror.session.get(url, headers={"Accept-Encoding": "identity"}) as response:
            page = await response.text()
        found = [(kind, float(value)) for kind, upstream, value in _SPENT.findall(page) if upstream == self.place.name]
        registry, tokens = (
            int(sum(value for kind, value in found if kind == wanted)) for wanted in ("upstream", "token")
        )
        return Spent(registry, tokens)

    @property
    def causes(self) -> str:
        """What the log has told of this place: the causes of answers, and what else was worth a line."""
        ours = [line for line in self._log if line.get("upstream") == self.place.name and line["event"] != "filled"]
        lines = (line["cause"] if "cause" in line else line["event"] for line in ours)
        return " | ".join(str(line) for line in lines if line != "request")
