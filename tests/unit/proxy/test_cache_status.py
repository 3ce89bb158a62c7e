"""The header is checked by a reading of RFC 9211 and RFC 8941 that knows nothing of how it is written."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from mirror import errors
from mirror.proxy.cache_status import CacheStatus, Outcome

Bare = Literal[True] | int | str

TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
FORWARDED = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}


def parsed(header: str) -> dict[str, Bare]:
    """Return the parameters of the one member of a Cache-Status list, each by its type in the RFC."""
    cache, *parameters = header.split(";")
    assert TOKEN.fullmatch(cache), f"{cache!r} is not a token"
    found: dict[str, Bare] = {}
    for parameter in parameters:
        key, equals, value = parameter.lstrip(" ").partition("=")
        assert KEY.fullmatch(key), f"{key!r} is not a key"
        assert key not in found, f"{key} is given twice"
        found[key] = _value(value) if equals else True
    return found


def _value(text: str) -> Bare:
    if re.fullmatch(r"-?[0-9]{1,15}", text):
        return int(text)
    assert TOKEN.fullmatch(text), f"{text!r} is neither an integer nor a token"
    return text


def check(header: str) -> dict[str, Bare]:
    """Check what RFC 9211 says of each parameter, and of several together."""
    parameters = parsed(header)
    assert not ("hit" in parameters and "fwd" in parameters)
    for flag in ("hit", "stored", "collapsed"):
        assert parameters.get(flag, True) is True
    if "fwd" in parameters:
        assert parameters["fwd"] in FORWARDED
    else:
        assert not parameters.keys() & {"fwd-status", "stored", "collapsed"}
    status = parameters.get("fwd-status", 200)
    assert isinstance(status, int)
    assert 100 <= status <= 599
    assert isinstance(parameters.get("detail", "none"), str)
    assert parameters.keys() <= {"hit", "fwd", "fwd-status", "stored", "collapsed", "detail"}
    return parameters


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("detail", [None, "upstream-unavailable", "manifest-unknown"])
def test_every_status_is_what_the_rfc_allows(outcome: Outcome, remembered: bool, detail: str | None) -> None:
    parameters = check(str(CacheStatus(outcome, detail=detail, remembered=remembered)))
    assert parameters.get("detail") == detail


@pytest.mark.parametrize("outcome", [Outcome.MISS, Outcome.COLLAPSED, Outcome.REVALIDATED, Outcome.STALE])
def test_what_is_forwarded_can_be_stored(outcome: Outcome) -> None:
    assert check(str(CacheStatus(outcome, stored=True)))["stored"] is True


@pytest.mark.parametrize(
    ("status", "header"),
    [
        (CacheStatus(Outcome.HIT), "mirror; hit"),
        (CacheStatus(Outcome.MISS, stored=True), "mirror; fwd=miss; stored"),
        (CacheStatus(Outcome.COLLAPSED), "mirror; fwd=miss; collapsed"),
        (CacheStatus(Outcome.STALE, detail="upstream-unavailable"), "mirror; fwd=stale; detail=upstream-unavailable"),
        (CacheStatus(Outcome.NEGATIVE), "mirror; fwd=miss; fwd-status=404"),
        (CacheStatus(Outcome.DENIED, detail="denied"), "mirror; fwd=miss; detail=denied"),
        (CacheStatus(Outcome.NEGATIVE, remembered=True), "mirror; hit"),
        (CacheStatus(Outcome.ERROR, detail="upstream-failed", remembered=True), "mirror; detail=upstream-failed"),
        (CacheStatus(Outcome.ERROR), "mirror"),
    ],
)
def test_what_clients_were_promised(status: CacheStatus, header: str) -> None:
    assert str(status) == header


@pytest.mark.parametrize("outcome", [Outcome.NEGATIVE, Outcome.DENIED])
def test_a_remembered_refusal_is_answered_by_the_cache(outcome: Outcome) -> None:
    parameters = check(str(CacheStatus(outcome, remembered=True)))
    assert parameters == {"hit": True}


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.NEGATIVE, Outcome.DENIED}))
def test_nothing_else_becomes_a_hit_by_being_remembered(outcome: Outcome) -> None:
    assert str(CacheStatus(outcome, remembered=True)) == str(CacheStatus(outcome))


def test_the_checker_can_fail() -> None:
    for wrong in ("", "mirror; hit; fwd=miss", "mirror; fwd=unknown", "mirror; stored", "mirror; detail=two words"):
        with pytest.raises(AssertionError):
            check(wrong)
    assert errors.MirrorError.remembered is False
