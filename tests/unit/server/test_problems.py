from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.error_codes import ErrorCode
from mirror.proxy.cache_status import Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.server.exchange import Exchange
from mirror.server.problems import answer, problem_of
from tests.unit.proxy.test_cache_status import check

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MirrorError)]
ABSTRACT = {MirrorError, errors.RequestError, errors.Refused}
AT_START_ONLY = {errors.ConfigError, errors.AddressUnavailable}
FOR_OPERATORS = {kind for kind in ALL if issubclass(kind, errors.NotDone)}
"""What no request of the public listener ends with."""


def made(kind: type[MirrorError]) -> MirrorError:
    """An error of this kind."""
    if kind in (errors.ConfigError, errors.AddressUnavailable):
        return kind("key", "problem")
    if kind is errors.RangeNotSatisfiable:
        return errors.RangeNotSatisfiable(100)
    return kind("what went wrong")


def exchange(method: str = "GET") -> Exchange:
    return Exchange(make_mocked_request(method, "/v2/a/manifests/b"), RequestFinished(method, "/v2/", "client"))


def body_of(response: Any) -> Any:
    return json.loads(response.body)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_an_answer(kind: type[MirrorError]) -> None:
    problem = problem_of(made(kind))
    assert 400 <= problem.status <= 599
    assert problem.status not in (401, 429)
    assert problem.code in ErrorCode


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in ABSTRACT | AT_START_ONLY | FOR_OPERATORS])
def test_no_error_that_is_foreseen_is_a_bug(kind: type[MirrorError]) -> None:
    assert problem_of(made(kind)).status != 500


@pytest.mark.parametrize(
    ("kind", "status", "code", "outcome"),
    [
        (errors.InvalidName, 400, "NAME_INVALID", Outcome.ERROR),
        (errors.InvalidDigest, 400, "DIGEST_INVALID", Outcome.ERROR),
        (errors.InvalidTag, 404, "MANIFEST_UNKNOWN", Outcome.ERROR),
        (errors.UnknownRegistry, 404, "NAME_UNKNOWN", Outcome.ERROR),
        (errors.RangeNotSatisfiable, 416, "SIZE_INVALID", Outcome.ERROR),
        (errors.ManifestUnknown, 404, "MANIFEST_UNKNOWN", Outcome.NEGATIVE),
        (errors.BlobUnknown, 404, "BLOB_UNKNOWN", Outcome.NEGATIVE),
        (errors.Denied, 403, "DENIED", Outcome.DENIED),
        (errors.UpstreamUnreachable, 502, "UNAVAILABLE", Outcome.ERROR),
        (errors.UpstreamTimeout, 504, "UNAVAILABLE", Outcome.ERROR),
        (errors.UpstreamThrottled, 503, "UNAVAILABLE", Outcome.ERROR),
        (errors.DigestMismatch, 502, "UNAVAILABLE", Outcome.ERROR),
        (errors.StoreFailed, 503, "UNAVAILABLE", Outcome.ERROR),
        (errors.ShuttingDown, 503, "UNAVAILABLE", Outcome.ERROR),
    ],
)
def test_the_promised_ones(kind: type[MirrorError], status: int, code: str, outcome: Outcome) -> None:
    problem = problem_of(made(kind))
    assert (problem.status, problem.code, problem.outcome) == (status, code, outcome)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("remembered", [False, True])
def test_the_answer_is_the_specs_document(kind: type[MirrorError], remembered: bool) -> None:
    error = made(kind)
    error.remembered = remembered
    asked = exchange()
    response = answer(error, asked)
    problem = problem_of(error)
    assert response.status == problem.status
    assert response.content_type == "application/json"
    assert body_of(response) == {"errors": [{"code": problem.code, "message": str(error)}]}
    parameters = check(response.headers["Cache-Status"])
    # Only what upstream said of the content is an answer of the cache; a failure to ask is none, however old.
    assert ("hit" in parameters) is (remembered and problem.outcome in (Outcome.NEGATIVE, Outcome.DENIED))
    assert asked.note.cause == str(error)
    assert asked.note.outcome is problem.outcome


def test_a_range_that_cannot_be_had_tells_the_size() -> None:
    assert answer(errors.RangeNotSatisfiable(100), exchange()).headers["Content-Range"] == "bytes */100"


@pytest.mark.parametrize(("seconds", "header"), [(None, None), (0, "0"), (17, "17")])
def test_when_to_come_back_is_passed_on(seconds: int | None, header: str | None) -> None:
    response = answer(errors.UpstreamThrottled("slow down", seconds), exchange())
    assert response.headers.get("Retry-After") == header


def test_a_head_request_counts_no_bytes() -> None:
    asked = exchange("HEAD")
    answer(errors.ManifestUnknown("no"), asked)
    assert asked.note.sent == 0
