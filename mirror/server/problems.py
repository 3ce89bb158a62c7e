"""What each of our errors is in HTTP: the one place that knows status codes and OCI error codes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.error_codes import ErrorCode
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.server.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Problem:
    """How an error is answered and counted."""

    status: int
    code: ErrorCode
    outcome: Outcome = Outcome.ERROR


_PROBLEMS: dict[type[MirrorError], Problem] = {
    errors.InvalidName: Problem(400, ErrorCode.NAME_INVALID),
    errors.InvalidDigest: Problem(400, ErrorCode.DIGEST_INVALID),
    errors.InvalidTag: Problem(404, ErrorCode.MANIFEST_UNKNOWN),
    errors.InvalidPlatform: Problem(400, ErrorCode.UNSUPPORTED),
    errors.UnknownPath: Problem(404, ErrorCode.UNSUPPORTED),
    errors.UnknownRegistry: Problem(404, ErrorCode.NAME_UNKNOWN),
    # Not 502: who passed it on can tell that the way is wrong, and not the registry.
    errors.LoopDetected: Problem(508, ErrorCode.UNAVAILABLE),
    errors.PreconditionFailed: Problem(412, ErrorCode.UNSUPPORTED),
    errors.InvalidPage: Problem(400, ErrorCode.UNSUPPORTED),
    errors.RangeNotSatisfiable: Problem(416, ErrorCode.SIZE_INVALID),
    errors.ManifestUnknown: Problem(404, ErrorCode.MANIFEST_UNKNOWN, Outcome.NEGATIVE),
    errors.NameUnknown: Problem(404, ErrorCode.NAME_UNKNOWN, Outcome.NEGATIVE),
    errors.BlobUnknown: Problem(404, ErrorCode.BLOB_UNKNOWN, Outcome.NEGATIVE),
    # Not 401, whatever upstream said: nothing a client could send to the mirror would change its answer.
    errors.Denied: Problem(403, ErrorCode.DENIED, Outcome.DENIED),
    errors.UpstreamTimeout: Problem(504, ErrorCode.UNAVAILABLE),
    # Not 429: containerd would ask again five times at once, dockerd would give up.
    errors.UpstreamThrottled: Problem(503, ErrorCode.UNAVAILABLE),
    errors.UpstreamOffline: Problem(503, ErrorCode.UNAVAILABLE),
    # Not asked: clients with another place to go to are to go there, and others to come back.
    errors.UpstreamDown: Problem(503, ErrorCode.UNAVAILABLE),
    errors.UpstreamUnavailable: Problem(502, ErrorCode.UNAVAILABLE),
    errors.BodyCut: Problem(502, ErrorCode.UNAVAILABLE),
    errors.StoreFailed: Problem(503, ErrorCode.UNAVAILABLE),
    errors.Busy: Problem(503, ErrorCode.UNAVAILABLE),
    errors.ShuttingDown: Problem(503, ErrorCode.UNAVAILABLE),
}
_BUG = Problem(500, ErrorCode.UNAVAILABLE)


def problem_of(error: MirrorError) -> Problem:
    """Return the problem of the nearest class that has one."""
    return next((_PROBLEMS[kind] for kind in type(error).__mro__ if kind in _PROBLEMS), _BUG)


def answer(error: MirrorError, exchange: Exchange) -> web.Response:
    """Return the OCI error document of `error`, and note what it was."""
    problem = problem_of(error)
    detail = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    exchange.record(CacheStatus(problem.outcome, detail=detail, remembered=error.remembered))
    exchange.note.cause = str(error)
    if isinstance(error, errors.RangeNotSatisfiable):
        exchange.headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, errors.UpstreamUnavailable) and error.retry_after is not None:
        exchange.headers["Retry-After"] = str(error.retry_after)
    return exchange.refuse(problem.status, problem.code, str(error))
