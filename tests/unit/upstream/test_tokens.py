from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror.errors import Denied, MirrorError, UpstreamFailed, UpstreamInvalid, UpstreamThrottled, UpstreamTimeout
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.events.access import TokenRequested
from mirror.proxy.limits.hold import HOLD_SECONDS, LONGEST_HOLD
from mirror.proxy.tasks import Tasks
from mirror.upstream.auth.tokens import (
    DEFAULT_LIFETIME,
    MAX_ANSWER,
    MAX_LIFETIME,
    RENEW_AT,
    TokenRequest,
    TokenServices,
    parse_token,
)
from mirror.upstream.egress import Egress, Outgoing
from tests.unit.proxy.doubles import MemoryCache, SettableClock
from tests.unit.recorder import Recorder
from tests.unit.upstream.answers import answer
from tests.unit.virtual_time import in_virtual_time, settle

REALM = URL("https://auth.example/token")
REQUEST = TokenRequest("docker.io", REALM, "registry.example", ("repository:a/b:pull",), False)


@pytest.mark.parametrize(
    ("content", "token", "lifetime"),
    [
        ({"token": "abc"}, "abc", DEFAULT_LIFETIME),
        ({"access_token": "abc"}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "access_token": "abc", "expires_in": 300}, "abc", 300),
        ({"token": "", "access_token": "abc"}, "abc", DEFAULT_LIFETIME),
        ({"token": None, "access_token": "abc"}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": 12.5}, "abc", 12.5),
        ({"token": "abc", "expires_in": 1}, "abc", 1),
        ({"token": "abc", "expires_in": 10**9}, "abc", MAX_LIFETIME),
        ({"token": "abc", "expires_in": float("inf")}, "abc", MAX_LIFETIME),
        ({"token": "abc", "expires_in": 0}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": -5}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": float("nan")}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": "300"}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": None}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": True}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": [300]}, "abc", DEFAULT_LIFETIME),
        ({"token": "abc", "expires_in": 10**400}, "abc", MAX_LIFETIME),
        ({"token": "abc", "other": {"deep": []}}, "abc", DEFAULT_LIFETIME),
    ],
)
def test_tokens_as_they_are_given(content: dict[str, object], token: str, lifetime: float) -> None:
    assert parse_token(json.dumps(content).encode()) == (token, lifetime)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        b"null",
        b"[]",
        b'"abc"',
        b"5",
        b"{}",
        b'{"token": ""}',
        b'{"token": 5}',
        b'{"token": ["abc"]}',
        b'{"token": {"token": "abc"}}',
        b'{"token": "two words"}',
        b'{"token": "line\\r\\nX-Evil: 1"}',
        b'{"token": "caf\xc3\xa9"}',
        b'{"token": "\\u0000"}',
        b'{"token": "\\ud800"}',
        b"\xff\xfe",
        b'{"a":' * 60_000,
        b"<html>",
    ],
)
def test_what_is_no_token(data: bytes) -> None:
    with pytest.raises(UpstreamInvalid) as raised:
        parse_token(data)
    assert "\n" not in str(raised.value)


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.lists(st.integers(), max_size=2)
)


@given(st.dictionaries(st.sampled_from(["token", "access_token", "expires_in", "x"]), values))
def test_no_answer_does_worse_than_be_refused(content: dict[str, object]) -> None:
    try:
        token, lifetime = parse_token(json.dumps(content).encode())
    except UpstreamInvalid:
        return
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token
    assert 0 < lifetime <= MAX_LIFETIME


@given(st.binary(max_size=50))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        parse_token(data)


# The request. ----------------------------------------------------------------------------------------------


def query_of(request: TokenRequest) -> list[tuple[str, str]]:
    """The query as the token service reads it."""
    return [(key, value) for key, value in request.url.query.items()]


def test_the_query_names_service_scopes_and_account() -> None:
    scopes = ("repository:a/b:pull", "repository:c:pull,push")
    request = TokenRequest("x", REALM, "registry.example:5000", scopes, False, account="robot$team+x y&z")
    assert query_of(request) == [
        ("service", "registry.example:5000"),
        ("scope", "repository:a/b:pull"),
        ("scope", "repository:c:pull,push"),
        ("account", "robot$team+x y&z"),
    ]


def test_what_is_empty_is_left_out() -> None:
    assert query_of(TokenRequest("x", REALM, "", (), False)) == []


def test_what_the_realm_asks_itself_is_kept() -> None:
    request = TokenRequest("x", URL("https://auth.example/token?tenant=1"), "s", ("aws",), False)
    assert query_of(request) == [("tenant", "1"), ("service", "s"), ("scope", "aws")]
    assert request.url.path == "/token"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20))
def test_no_value_leaves_its_parameter(value: str) -> None:
    request = TokenRequest("x", REALM, value, (f"repository:{value}:pull",), False)
    assert query_of(request)[-1] == ("scope", f"repository:{value}:pull")
    assert request.url.origin() == REALM.origin()


@pytest.mark.parametrize("raw", ["\udcff", "a\udce9b"])
def test_bytes_of_a_header_that_are_no_text_are_upstreams_fault(raw: str) -> None:
    # aiohttp gives what is not UTF-8 in a header as lone surrogates.
    for request in (TokenRequest("x", REALM, raw, (), False), TokenRequest("x", REALM, "", (raw,), False)):
        with suppress(UpstreamInvalid):
            assert request.url.raw_query_string.isascii()


def test_only_the_same_request_has_the_same_key() -> None:
    others = [
        TokenRequest("ghcr.io", REALM, "registry.example", ("repository:a/b:pull",), False),
        TokenRequest("docker.io", REALM / "x", "registry.example", ("repository:a/b:pull",), False),
        TokenRequest("docker.io", REALM, "other", ("repository:a/b:pull",), False),
        TokenRequest("docker.io", REALM, "registry.example", ("repository:a/c:pull",), False),
        TokenRequest("docker.io", REALM, "registry.example", ("repository:a/b:pull",), False, account="me"),
        TokenRequest("docker.io", REALM, "registry.example", (), False, account="repository:a/b:pull"),
        replace(REQUEST, account="me", authorization="Basic one"),
        replace(REQUEST, account="me", authorization="Basic two"),
        replace(REQUEST, refresh_token="one"),
        replace(REQUEST, refresh_token="two"),
        replace(REQUEST, authorization="one"),
    ]
    assert len({request.key for request in [REQUEST, *others]}) == 1 + len(others)


def test_the_order_of_scopes_does_not_matter() -> None:
    one = TokenRequest("x", REALM, "s", ("a", "b"), False)
    other = TokenRequest("x", REALM, "s", ("b", "a"), False)
    assert one.key == other.key


def test_a_request_does_not_show_its_authorization() -> None:
    request = TokenRequest("x", REALM, "s", (), False, account="me", authorization="Basic hunter2")
    exchange = replace(request, authorization=None, refresh_token="hunter2")
    for shown in (repr(request), request.key, repr(exchange), exchange.key, str(exchange.url)):
        assert "hunter2" not in shown


# The service. ----------------------------------------------------------------------------------------------


class CountingTokenService(Egress):
    """An egress that leads to a token service: every answer is a new token, or what it was told to answer."""

    def __init__(self) -> None:
        super().__init__("test", lambda: "mirror-test")
        self.outgoing: list[Outgoing] = []
        self.gate: asyncio.Event | None = None
        self.answer: Callable[[int], aiohttp.ClientResponse] = lambda count: answer(
            200, json.dumps({"token": f"token-{count}", "expires_in": 100}).encode()
        )

    async def open(self, outgoing: Outgoing) -> aiohttp.ClientResponse:
        self.outgoing.append(outgoing)
        if self.gate is not None:
            await self.gate.wait()
        return self.answer(len(self.outgoing))


class Desk:
    """Token services with a clock that can be turned."""

    def __init__(self) -> None:
        self.service = CountingTokenService()
        self.clock = SettableClock()
        self.observer = Recorder()
        self.tokens = TokenServices(self.service, MemoryCache(self.clock), Tasks(self.observer), self.observer)

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.observer.of(TokenRequested)]


@in_virtual_time
async def test_a_token_is_used_until_shortly_before_its_end() -> None:
    desk = Desk()
    assert await desk.tokens.token(REQUEST, None) == "token-1"
    desk.clock.now += 100 * RENEW_AT - 1
    assert await desk.tokens.token(REQUEST, None) == "token-1"
    desk.clock.now += 1
    assert await desk.tokens.token(REQUEST, None) == "token-2"
    assert desk.outcomes == ["granted", "granted"]


@in_virtual_time
async def test_a_refused_token_is_not_given_again() -> None:
    desk = Desk()
    assert await desk.tokens.token(REQUEST, None) == "token-1"
    assert await desk.tokens.token(REQUEST, "token-1") == "token-2"
    assert await desk.tokens.token(REQUEST, "token-1") == "token-2"
    assert await desk.tokens.token(REQUEST, None) == "token-2"


@in_virtual_time
async def test_a_hundred_waiters_ask_once() -> None:
    desk = Desk()
    desk.service.gate = asyncio.Event()
    waiting = [asyncio.create_task(desk.tokens.token(REQUEST, None)) for _ in range(100)]
    await settle()
    desk.service.gate.set()
    assert await asyncio.gather(*waiting) == ["token-1"] * 100
    assert len(desk.service.outgoing) == 1


@in_virtual_time
async def test_credentials_are_sent_to_the_realm() -> None:
    desk = Desk()
    await desk.tokens.token(TokenRequest("x", REALM, "s", (), True, "me", "Basic secret"), None)
    [outgoing] = desk.service.outgoing
    assert outgoing.url.origin() == REALM.origin()
    assert (outgoing.method, outgoing.authorization, outgoing.private_network) == ("GET", "Basic secret", True)


@in_virtual_time
async def test_an_identity_token_is_exchanged_by_a_form() -> None:
    desk = Desk()
    desk.service.answer = lambda _: answer(200, b'{"access_token": "abc", "refresh_token": "new"}')
    request = TokenRequest("x", REALM / "token", "s", ("repository:a:pull", "aws"), True, refresh_token="secret")
    assert await desk.tokens.token(request, None) == "abc"
    [outgoing] = desk.service.outgoing
    assert (outgoing.method, outgoing.url, outgoing.authorization) == ("POST", REALM / "token", None)
    assert outgoing.form == {
        "grant_type": "refresh_token",
        "service": "s",
        "scope": "repository:a:pull aws",
        "client_id": "mirror",
        "refresh_token": "secret",
    }


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error": "invalid_grant"}', Denied),
        (b'{"error": "invalid_request"}', UpstreamFailed),
        (b'["invalid_grant"]', UpstreamFailed),
        (b"invalid_grant", UpstreamFailed),
    ],
)
@in_virtual_time
async def test_an_identity_token_that_is_not_taken(body: bytes, kind: type[MirrorError]) -> None:
    desk = Desk()
    desk.service.answer = lambda _: answer(400, body)
    with pytest.raises(kind):
        await desk.tokens.token(replace(REQUEST, refresh_token="secret"), None)
    # Who did not send one was not told that it is invalid.
    with pytest.raises(UpstreamFailed):
        await desk.tokens.token(REQUEST, None)


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (400, UpstreamFailed, "failed"),
        (401, Denied, "refused"),
        (403, Denied, "refused"),
        (404, UpstreamFailed, "failed"),
        (418, UpstreamFailed, "failed"),
        (429, UpstreamThrottled, "failed"),
        (500, UpstreamFailed, "failed"),
        (503, UpstreamFailed, "failed"),
        (200, UpstreamInvalid, "failed"),
    ],
)
@in_virtual_time
async def test_what_a_service_answers_instead(status: int, kind: type[MirrorError], outcome: str) -> None:
    desk = Desk()
    desk.service.answer = lambda _: answer(status, b"<html>", {"Retry-After": "7"})
    with pytest.raises(kind) as raised:
        await desk.tokens.token(REQUEST, None)
    assert desk.outcomes == [outcome]
    if isinstance(raised.value, UpstreamThrottled):
        assert raised.value.retry_after == 7


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("", HOLD_SECONDS), ("1000000000", LONGEST_HOLD)])
@in_virtual_time
async def test_a_service_that_limits_requests_is_left_alone_for_as_long_as_it_says(header: str, seconds: float) -> None:
    desk = Desk()
    given, desk.service.answer = desk.service.answer, lambda _: answer(429, b"", {"Retry-After": header})
    other_scope = replace(REQUEST, scopes=("repository:c/d:pull",))
    for request in (REQUEST, other_scope, REQUEST):
        with pytest.raises(UpstreamThrottled) as raised:
            await desk.tokens.token(request, None)
        assert raised.value.retry_after == seconds
    assert len(desk.service.outgoing) == 1
    desk.service.answer = given
    # Another account is another matter, and so is another service.
    await desk.tokens.token(replace(REQUEST, account="me", authorization="Basic secret"), None)
    await desk.tokens.token(replace(REQUEST, realm=URL("https://other.example/token")), None)
    desk.clock.now += seconds - 1
    with pytest.raises(UpstreamThrottled):
        await desk.tokens.token(REQUEST, None)
    desk.clock.now += 1
    await desk.tokens.token(REQUEST, None)
    assert desk.outcomes == ["failed", "granted", "granted", "granted"]


@in_virtual_time
async def test_a_service_that_says_nothing_is_given_up_in_time() -> None:
    desk = Desk()
    desk.service.gate = asyncio.Event()
    waiting = [asyncio.create_task(desk.tokens.token(REQUEST, None)) for _ in range(3)]
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, UpstreamTimeout)
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    assert desk.outcomes == ["failed"]
    desk.service.gate.set()
    assert await desk.tokens.token(REQUEST, None) == "token-2"


@in_virtual_time
async def test_an_endless_answer_is_not_read() -> None:
    desk = Desk()
    desk.service.answer = lambda _: answer(200, b"x" * (MAX_ANSWER + 1))
    with pytest.raises(UpstreamInvalid):
        await desk.tokens.token(REQUEST, None)
