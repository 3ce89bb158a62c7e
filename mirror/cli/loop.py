"""The event loop of every command: libuv's, and no other."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

LOOK_UPS = 8
"""Names that are resolved at the same time, so that one whose servers hang keeps few others waiting."""


def on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, and return what it returns."""
    # Only half of libuv's threads may wait for names.
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(2 * LOOK_UPS))
    return uvloop.run(work)
