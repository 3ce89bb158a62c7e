"""Seeing that requests have reached a fill: until its first header, no answer tells a client so."""

from __future__ import annotations

import asyncio

import pytest

from mirror.oci.digest import Digest
from mirror.proxy.fills.fill import Fill
from mirror.proxy.fills.filler import Filler
from mirror.proxy.routing import Route


class Joins:
    """Counts the requests that have started or joined a fill."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        original = Filler.join_or_start

        def join_or_start(filler: Filler, route: Route, digest: Digest) -> tuple[Fill, bool]:
            self._count += 1
            return original(filler, route, digest)

        monkeypatch.setattr(Filler, "join_or_start", join_or_start)

    async def reach(self, count: int, seconds: float = 45.0) -> None:
        """Wait until there were so many."""
        async with asyncio.timeout(seconds):
            while self._count < count:  # noqa: ASYNC110  # called from within the mirror, which shall not wait
                await asyncio.sleep(0.005)
