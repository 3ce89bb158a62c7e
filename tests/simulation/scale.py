"""Sizes a sixty-fourth of what they are, so that a seed takes milliseconds; times stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from mirror.proxy.fills import audience, fill, progress, retry
from tests.unit.proxy import memory_passage

SCALE = 64
SMALL = fill.SMALL // SCALE
WINDOW = audience.WINDOW // SCALE
HOLD_BACK = progress.HOLD_BACK // SCALE
SEGMENT = memory_passage.SEGMENT // 8
LEAST_PACE = retry.LEAST_PACE // SCALE
LARGEST_PIECE = 2048
"""What upstream sends at once, at most."""


@contextmanager
def scaled_down() -> Iterator[None]:
    """Within this context the core works with the small sizes."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(fill, "SMALL", SMALL))
        stack.enter_context(patch.object(audience, "WINDOW", WINDOW))
        stack.enter_context(patch.object(progress, "HOLD_BACK", HOLD_BACK))
        stack.enter_context(patch.multiple(retry, EARNED_BY=retry.EARNED_BY // SCALE, LEAST_PACE=LEAST_PACE))
        stack.enter_context(patch.object(memory_passage, "SEGMENT", SEGMENT))
        yield
