"""How long upstream may take, so that a client has an answer or an error within 25 s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirror.errors import UpstreamTimeout

ANSWER_WITHIN = 20.0
"""Seconds upstream has, token and redirects included; containerd waits 30 for our headers."""

REVALIDATE_WITHIN = 5.0
"""Seconds upstream has when a stale copy is at hand; dockerd's ping gives up after 15."""


@asynccontextmanager
async def answer_within(seconds: float = ANSWER_WITHIN) -> AsyncIterator[None]:
    """Bound what is done in this context; raises UpstreamTimeout at its end."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise UpstreamTimeout("upstream did not answer in time") from None
