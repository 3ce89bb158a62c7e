"""How many files the process may hold open, and how many connections fit into that."""

from __future__ import annotations

import resource
from contextlib import suppress

FEWEST, MOST = 16, 10_000
"""Connections of the public listener, whatever the limit on open files says."""

_FILES_A_CONNECTION = 4
# The socket, its duplicate and the file while a blob is sent; the fourth is for upstreams, fills and the index.


def raise_limit() -> None:
    """Let the process open as many files as it may give itself; where that is refused, the limit stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connection_limit() -> int:
    """Return how many connections the limit on open files leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(FEWEST, min(soft // _FILES_A_CONNECTION, MOST))
