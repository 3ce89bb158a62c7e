"""Log lines: one a request, and one for whatever an operator should know. Text (logfmt) or JSON."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

import structlog

from mirror.proxy.events.access import CredentialsUnreadable, CredentialsWithheld, TokenRequested, VisibilityAsked
from mirror.proxy.events.connections import AcceptFailed, ConnectionRefused
from mirror.proxy.events.fills import DigestMismatched, FillFinished, FillResumed, ReadAhead
from mirror.proxy.events.limits import SpendingChanged
from mirror.proxy.events.observer import Event
from mirror.proxy.events.operations import PinChanged, Purged
from mirror.proxy.events.requests import LoopRefused, RequestFinished, RequestsRepeated
from mirror.proxy.events.scrubbing import FileScrubbed
from mirror.proxy.events.store import Evicted, PinsCrowding
from mirror.proxy.events.troubles import StoreTroubled, TaskCrashed
from mirror.proxy.events.upstreams import DeletionSeen, EndpointJudged, EndpointUnverified, RevalidationFailed
from mirror.proxy.events.warming import ImageWarmed, WarmingRoundFinished
from mirror.proxy.events.workers import ReloadPartly, ReloadRefused, WorkerHangs, WorkerLost, WorkerReplaced
from mirror.proxy.rate_limit import Spending
from mirror.telemetry.outlet import Outlet
from mirror.telemetry.request_lines import RequestLines, printable, values
from mirror.telemetry.seldom import Few, Seldom

_SHARED: list[Any] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def set_up(level: str, form: str, stream: TextIO | None = None, worker: int | None = None) -> RequestLines | None:
    """Send the log lines of the mirror and of its libraries to `stream` (standard output), as `text` or `json`.

    Where there are several workers, each line says of which it is. Returns what writes the lines of requests quicker,
    None where they are below this level.
    """
    shared = _SHARED if worker is None else [*_SHARED, _of_worker(worker)]
    final: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    if form == "json":
        final.append(structlog.processors.JSONRenderer())
    else:
        order = ["timestamp", "level", "event", "worker"]
        final.append(_printable)
        final.append(structlog.processors.LogfmtRenderer(key_order=order, drop_missing=True, bool_as_flag=False))
    outlet = Outlet(stream or sys.stdout, _lost)
    handler = logging.StreamHandler(outlet)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    # A reader of the log that goes away is no reason to write tracebacks elsewhere.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return RequestLines(form, outlet, worker) if root.isEnabledFor(logging.INFO) else None


def _lost(lines: int) -> None:
    structlog.get_logger("mirror").warning("lines lost", lines=lines, cause="nobody took what was written")


class Logs:
    """Writes what happened (see Observer), the lines of requests by `requests` where they are many."""

    def __init__(self, requests: RequestLines | None = None) -> None:
        self._requests = requests
        self._log: structlog.stdlib.BoundLogger = structlog.get_logger("mirror")
        self._seldom = Seldom()
        self._few = Few()

    def lifecycle(self, event: str, **values: object) -> None:
        """Write a line about the mirror itself: starting, listening, stopping."""
        self._log.info(event, **values)

    def flush(self) -> None:
        """Write what is held back so that others can go out with it."""
        if self._requests is not None:
            self._requests.flush()

    def notify(self, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915  # a flat table of events
        """Write a line about `event`, if it is worth one."""
        match event:
            case RequestFinished():
                self._request(event)
            case RequestsRepeated():
                self._repeated(event)
            case LoopRefused(upstream, client) if times := self._seldom.times(f"loop {upstream}"):
                todo = f"upstreams.{upstream}.endpoints lead to a mirror that asks this one again: take one of them out"
                self._log.error("asked in a circle", upstream=upstream, client=client, times=times, todo=todo)
            case ConnectionRefused(reason, client) if times := self._seldom.times(reason):
                self._refusal(reason, client, times)
            case AcceptFailed(error) if self._seldom.times("accept"):
                self._log.error("connections have to wait", cause=os.strerror(error.errno or 0).lower())
            case EndpointJudged(upstream, endpoint, is_well, cause):
                self._judged(upstream, endpoint, is_well=is_well, cause=cause)
            case FillResumed(upstream, digest, size, error):
                self._log.warning("fill resumed", upstream=upstream, digest=str(digest), at=size, cause=_cause(error))
            case FillFinished(upstream, digest, size, _, error) if error is not None:
                self._log.warning("fill failed", upstream=upstream, digest=str(digest), at=size, cause=_cause(error))
            case FillFinished(upstream, digest, size, committed, _, unkept):
                why = {"reason": unkept} if unkept else {}
                self._log.info("filled", upstream=upstream, digest=str(digest), bytes=size, kept=committed, **why)
            case ReadAhead(upstream, digest, outcome):
                self._log.debug("read ahead", upstream=upstream, digest=str(digest), outcome=outcome)
            case DigestMismatched(upstream, digest):
                self._log.error("digest mismatch", upstream=upstream, digest=str(digest))
            case TokenRequested(upstream, outcome) if outcome != "granted":
                self._log.warning("no token", upstream=upstream, outcome=outcome)
            case SpendingChanged():
                self._spending(event)
            case CredentialsWithheld(upstream, realm):
                self._log.warning(
                    "credentials withheld",
                    upstream=upstream,
                    realm=realm,
                    todo=f"add it to upstreams.{upstream}.realms",
                )
            case CredentialsUnreadable(upstream, reason):
                self._log.error("no credentials", upstream=upstream, cause=reason)
            case EndpointUnverified(upstream, endpoint):
                todo = "give it a ca_file instead of verify: false"
                self._log.warning("certificate not verified", upstream=upstream, endpoint=endpoint, todo=todo)
            case VisibilityAsked(upstream, "untold") if times := self._seldom.times(f"untold {upstream}"):
                self._log.warning("visibility cannot be told", upstream=upstream, times=times)
            case RevalidationFailed():
                self._unlearned(event)
            case DeletionSeen(upstream, image):
                todo = "use another before freshness.keep_deleted is over"
                self._log.warning("deleted upstream", upstream=upstream, image=image, todo=todo)
            case FileScrubbed(digest, size, problem, action) if problem is not None:
                self._log.error("bad file", digest=str(digest), bytes=size, problem=str(problem), action=str(action))
            case Evicted(digest, size, reason, unused):
                self._log.info("evicted", digest=str(digest), bytes=size, reason=reason, unused_seconds=round(unused))
            case Purged(repository, images, files, size):
                self._log.info("purged", repository=repository, images=images, files=files, bytes=size)
            case PinChanged(image, is_pinned):
                self._log.info("pinned" if is_pinned else "unpinned", image=image)
            case ImageWarmed(image, outcome, _, error) if error is not None:
                self._log.warning("not warmed", image=image, outcome=outcome, cause=_cause(error))
            case ImageWarmed(image, "warmed", fetched):
                self._log.info("warmed", image=image, bytes=fetched)
            case WarmingRoundFinished(_, images) if any(images.values()):
                self._log.info("warming round", **images)
            case PinsCrowding(size, max_size):
                self._log.warning("pins leave little room", bytes=size, max_bytes=max_size)
            case StoreTroubled(doing, error):
                self._log.error("disk trouble", doing=doing, cause=_cause(error))
            case TaskCrashed(task, error):
                self._log.error("bug", task=task, exc_info=error)
            case WorkerHangs(worker, seconds):
                self._log.error("worker hangs", worker=worker, silent_seconds=round(seconds))
            case WorkerLost(worker, how, pause, _, stack):
                stood = {"stack": stack} if stack else {}
                self._log.error("worker lost", worker=worker, cause=how, replaced_in_seconds=round(pause, 1), **stood)
            case WorkerReplaced(worker):
                self._log.info("worker replaced", worker=worker)
            case ReloadRefused(cause, worker):
                at = {} if worker is None else {"worker": worker}
                self._log.error("not reloaded", cause=cause, **at)
            case ReloadPartly(fields):
                self._log.warning("not reloaded in part", fields=", ".join(fields), todo="restart the mirror for these")

    def _spending(self, event: SpendingChanged) -> None:
        left = {} if event.rate is None else {"left": event.rate.remaining, "limit": event.rate.limit}
        log = self._log.bind(upstream=event.upstream, **left)
        todo = f"what is cached is served; accounts in upstreams.{event.upstream}.credentials raise the limit"
        match event.spending:
            case Spending.FREE:
                log.info("enough pulls are left again")
            case Spending.SAVING:
                log.warning("few pulls are left, for what is not cached", todo=todo)
            case Spending.EXHAUSTED:
                log.warning("limit reached, nothing is pulled", todo=todo)

    def _unlearned(self, event: RevalidationFailed) -> None:
        others = self._few.others(f"{event.what} {type(event.error).__name__}")
        if others is not None:
            more = {"others": others} if others else {}
            self._log.warning("not revalidated", what=event.what, cause=_cause(event.error), **more)

    def _judged(self, upstream: str, endpoint: str, *, is_well: bool, cause: str | None) -> None:
        if is_well:
            self._log.info("endpoint is back", upstream=upstream, endpoint=endpoint)
        else:
            self._log.warning("endpoint is out", upstream=upstream, endpoint=endpoint, cause=cause)

    def _refusal(self, reason: str, client: str, times: int) -> None:
        if reason == "tls":
            # No trouble: Podman and Skopeo try it before each pull from a mirror that is said to be on plain http.
            cause = "a TLS client on a plain http port"
            self._log.info("connection refused", reason=reason, client=client, times=times, cause=cause)
        else:
            self._log.warning("connection refused", reason=reason, client=client, times=times)

    def _request(self, event: RequestFinished) -> None:
        if event.cause:
            self._log.warning("request", **values(event))
        elif self._requests is not None:
            self._requests.write(event)
        else:
            self._log.info("request", **values(event))

    def _repeated(self, event: RequestsRepeated) -> None:
        if self._requests is not None:
            self._requests.write_again(event)
        else:
            for request in event.each():
                self._request(request)


def _of_worker(number: int) -> structlog.typing.Processor:
    def add(_: object, __: str, values: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"worker": number, **values}

    return add


def _printable(_: object, __: str, given: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: printable(value) if isinstance(value, str) else value for key, value in given.items()}


def _cause(error: BaseException) -> str:
    """Return an error and the kind of what caused it, whose words may hold a signed URL or an upstream's bytes."""
    inner = error.__cause__
    if inner is None:
        return str(error)
    number = getattr(inner, "errno", None)
    return f"{error} ({type(inner).__name__}{f', errno {number}' if number else ''})"
