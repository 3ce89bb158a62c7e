"""Bounded waiting for what no event tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.integration.conftest import RunningMirror

_STEP = 0.01


async def until(
    condition: Callable[[], bool], what: str, seconds: float = 45.0, explain: Callable[[], object] | None = None
) -> None:
    """Wait until the condition holds; fails with `what` if it never does, and with what `explain` returns."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # nothing tells when it does
                await asyncio.sleep(_STEP)
    except TimeoutError:
        found = "" if explain is None else f", but {explain()}"
        raise AssertionError(f"never came true: {what}{found}") from None


async def until_metric(mirror: RunningMirror, series: str, value: float, seconds: float = 45.0) -> None:
    """Wait until a series of the metrics page has this value."""
    try:
        async with asyncio.timeout(seconds):
            while await mirror.metric(series) != value:  # noqa: ASYNC110  # a page to look at, not an event
                await asyncio.sleep(_STEP)
    except TimeoutError:
        raise AssertionError(f"{series} is {await mirror.metric(series)}, not {value}") from None
