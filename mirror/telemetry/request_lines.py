"""The lines of requests, more than of all else together: what structlog would write, in a tenth of its time."""

from __future__ import annotations

import functools
import json
import time
from datetime import UTC, datetime
from typing import Protocol

import structlog

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.requests import RequestFinished, RequestsRepeated
from mirror.telemetry.outlet import Outlet

_MOST_REMEMBERED = 4096
# What was asked and user agents, as they stand in a line; clients choose them, and most choose the same. How few
# microseconds answers take that are given again.

_MOST_FRAMES = 1024
# Of answers that are given again, with all that a client may have made long.

_LONGEST_REMEMBERED = 512
# Characters; nobody has longer names, but who wants to fill the memory.


class RequestLines:
    """Writes the lines of requests that went well, as `text` or `json`, with the number of a worker if there is one."""

    def __init__(self, form: str, outlet: Outlet, worker: int | None = None) -> None:
        self._form: _Form = _Json(worker) if form == "json" else _Text(worker)
        self._outlet = outlet
        self._known = functools.lru_cache(_MOST_FRAMES)(self._form.frame)

    def write(self, event: RequestFinished) -> None:
        """Write the line of `event` with those that come within a moment."""
        frame, now = self._form.frame(event), _timestamp(time.time_ns() // 1000)
        self._outlet.gather(self._form.line(frame, event.client, now, str(round(event.seconds, 6))))

    def write_again(self, event: RequestsRepeated) -> None:
        """Write the lines of all that were given an answer again, each at its time."""
        known, line = self._known, self._form.line
        self._outlet.gather(
            "".join(
                [
                    line(known(note), client, _timestamp(at), _seconds(microseconds))
                    for note, client, at, microseconds in event.given
                ]
            )
        )

    def flush(self) -> None:
        """Write them now."""
        self._outlet.flush()


def values(event: RequestFinished) -> dict[str, object]:
    """Return what a line says of a request, in order."""
    optional = {"detail": event.detail, "cause": event.cause}
    return {
        "client": event.client,
        "method": event.method,
        "path": event.path,
        "status": event.status,
        "kind": str(event.kind),
        "upstream": event.upstream,
        "outcome": str(event.outcome),
        "bytes": event.sent,
        "seconds": round(event.seconds, 6),
        "user_agent": event.user_agent,
        **{key: value for key, value in optional.items() if value},
    }


_Frame = tuple[str, str, str]
# What stands in a line before, between and behind what is another each time.


class _Form(Protocol):
    """How lines are written."""

    def frame(self, event: RequestFinished) -> _Frame:
        """Return what is the same in all lines that tell of the same answer."""

    def line(self, frame: _Frame, client: str, now: str, seconds: str) -> str:
        """Return the whole line."""


class _Text:
    """As logfmt."""

    def __init__(self, worker: int | None) -> None:
        self._worker = "" if worker is None else f" worker={worker}"

    def frame(self, event: RequestFinished) -> _Frame:
        detail = f" detail={_in_text(event.detail)}" if event.detail else ""
        return (
            f" level=info event=request{self._worker} client=",
            f"{_asked(_asked_in_text, event)} bytes={event.sent} seconds=",
            f" user_agent={_any(_in_text, event.user_agent)}{detail}\n",
        )

    def line(self, frame: _Frame, client: str, now: str, seconds: str) -> str:
        before, between, behind = frame
        return f"timestamp={now}{before}{_in_text(client)}{between}{seconds}{behind}"


class _Json:
    """As an object."""

    def __init__(self, worker: int | None) -> None:
        self._worker = "" if worker is None else f'"worker": {worker}, '

    def frame(self, event: RequestFinished) -> _Frame:
        detail = f', "detail": {_in_json(event.detail)}' if event.detail else ""
        return (
            f'{{{self._worker}"client": ',
            f',{_asked(_asked_in_json, event)} "bytes": {event.sent}, "seconds": ',
            f', "user_agent": {_any(_in_json, event.user_agent)}{detail},'
            ' "event": "request", "level": "info", "timestamp": "',
        )

    def line(self, frame: _Frame, client: str, now: str, seconds: str) -> str:
        before, between, behind = frame
        return f'{before}{_in_json(client)}{between}{seconds}{behind}{now}"}}\n'


def _asked(remembered: functools._lru_cache_wrapper[str], event: RequestFinished) -> str:
    render = remembered if len(event.path) <= _LONGEST_REMEMBERED else remembered.__wrapped__
    return render(event.method, event.path, event.status, event.kind, event.upstream, event.outcome)


def _any(remembered: functools._lru_cache_wrapper[str], value: str) -> str:
    return remembered(value) if len(value) <= _LONGEST_REMEMBERED else str(remembered.__wrapped__(value))


def _timestamp(microseconds: int) -> str:
    """Return a time since the epoch as structlog writes it."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06}Z" if rest else f"{_second(seconds)}Z"


@functools.lru_cache(_MOST_REMEMBERED)
def _seconds(microseconds: int) -> str:
    return str(microseconds / 1_000_000)


@functools.lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


@functools.lru_cache(_MOST_REMEMBERED)
def _asked_in_text(method: str, path: str, status: int, kind: Kind, upstream: str, outcome: Outcome) -> str:
    return (
        f" method={_in_text(method)} path={_any(_in_text, path)} status={status} kind={kind}"
        f" upstream={_in_text(upstream)} outcome={outcome}"
    )


@functools.lru_cache(_MOST_REMEMBERED)
def _asked_in_json(method: str, path: str, status: int, kind: Kind, upstream: str, outcome: Outcome) -> str:
    return (
        f' "method": {_in_json(method)}, "path": {_any(_in_json, path)}, "status": {status}, "kind": "{kind}",'
        f' "upstream": {_in_json(upstream)}, "outcome": "{outcome}",'
    )


_logfmt = structlog.processors.LogfmtRenderer()


@functools.lru_cache(_MOST_REMEMBERED)
def _in_text(value: str) -> str:
    return _logfmt(None, "", {"v": printable(value)}).removeprefix("v=")


_in_json = functools.lru_cache(_MOST_REMEMBERED)(json.dumps)


def printable(text: str) -> str:
    """Escape what a terminal, or a reader of lines, might take for something else: it may be a client's."""
    return text if text.isascii() and text.isprintable() else text.encode("unicode_escape").decode("ascii")
