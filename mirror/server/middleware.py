"""What wraps every public request: the note that is counted and logged, and the answers to errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from mirror.errors import MirrorError
from mirror.oci.error_codes import ErrorCode
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.requests import CUT, RequestFinished
from mirror.proxy.events.troubles import TaskCrashed
from mirror.server.exchange import Exchange
from mirror.server.problems import answer

Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]

_LONGEST_LOGGED = 512


def public_handler(handler: Handler, observer: Observer) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Return `handler` with all that wraps it, outermost first, as aiohttp's server calls it."""
    return noted(errors_answered(handler, observer), observer)


def noted(handler: Handler, observer: Observer) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Time each request, and report it when it has been answered or given up."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        started = time.monotonic()
        note = RequestFinished(
            method=request.method,
            path=request.raw_path.partition("?")[0][:_LONGEST_LOGGED],
            client=request.remote or "",
            user_agent=request.headers.get("User-Agent", "")[:_LONGEST_LOGGED],
        )
        try:
            response = await handler(Exchange(request, note))
            note.status = response.status
        except asyncio.CancelledError:
            note.cause = CUT
            raise
        finally:
            note.seconds = time.monotonic() - started
            observer.notify(note)
        return response

    return handle


def errors_answered(handler: Handler, observer: Observer) -> Handler:
    """Answer errors by the spec's document; one that nobody foresaw by a 500 that tells nothing."""

    async def handle(exchange: Exchange) -> web.StreamResponse:
        try:
            return await handler(exchange)
        except MirrorError as error:
            return answer(error, exchange)
        except Exception as error:  # the last resort: a client never sees a traceback
            observer.notify(TaskCrashed(f"{exchange.note.method} {exchange.note.path}", error))
            exchange.note.cause = f"bug: {type(error).__name__}"
            return exchange.refuse(500, ErrorCode.UNAVAILABLE, "the mirror failed; its log says why")

    return handle
