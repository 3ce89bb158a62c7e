"""How many files the process may hold open, how many connections fit into that, and what is told when it is too few."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mirror.proxy.events.connections import AcceptFailed
from mirror.proxy.events.observer import Observer

FEWEST, MOST = 16, 10_000
"""Connections of the public listener, whatever the limit on open files says."""

_FILES_A_CONNECTION = 4
# The socket, its duplicate and the file while a blob is sent; the fourth is for upstreams, fills and the index.

_OUT_OF_RESOURCES = "socket.accept() out of system resource"
_LISTEN_AGAIN = "_start_serving"
# What asyncio calls them; only the message tells them from other errors.

LoopErrorHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]


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


def accept_failures_told(observer: Observer) -> LoopErrorHandler:
    """Return an exception handler for the loop that tells `observer` where a connection could not be taken.

    The loop tries again by itself after a second, in vain where it has stopped listening meanwhile. Every other error
    is left to the loop's own handler.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        message = str(context.get("message"))
        if isinstance(error, OSError) and message == _OUT_OF_RESOURCES:
            observer.notify(AcceptFailed(error))
        elif not (isinstance(error, ValueError) and _LISTEN_AGAIN in message):
            loop.default_exception_handler(context)

    return handle
