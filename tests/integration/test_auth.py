"""Challenges, token services and credentials: what the mirror sends to whom, and how often."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.auth import Anonymous, BasicAuth, TokenAuth, unauthorized
from tests.fakes.credentials import basic_credentials
from tests.fakes.gate import Gate
from tests.fakes.journal import Entry, Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import configuration, serving
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.tls import server_context, trusting

IMAGE = content.image(layers=2)
LAYER = IMAGE.layers[0]
MANIFEST = "/v2/library/alpine/manifests/3.20"
BLOB = f"/v2/library/alpine/blobs/{LAYER.digest}"
PULL = "repository:library/alpine:pull"
SECRET = "canary-5ecret:with$signs"


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image("library/alpine", "3.20", IMAGE)


def conversation(journal: Journal) -> list[str]:
    """Who was asked what and how, in order: the whole story."""
    return [f"{one.host} {one.method} {one.path} {one.authorization} {one.status}" for one in journal.entries]


def scopes(entry: Entry) -> list[str]:
    """What a token was asked for."""
    request = Request(entry.method, f"{entry.path}?{entry.query}", entry.headers)
    return [value for name, value in request.parameters if name == "scope"]


def with_credentials(tmp_path: Path, upstream: dict[str, Any], user: str, secret: str = SECRET) -> dict[str, Any]:
    """The configuration of an upstream with an account, whose password is in a file."""
    file = tmp_path / f"{user}.password"
    file.write_text(f"{secret}\n")
    credentials = {"username": user, "password_file": str(file)}
    return {**upstream, "credentials": credentials, "serve_private": "everyone"}


async def refused(mirror: RunningMirror, path: str = MANIFEST) -> tuple[int, str]:
    """Status and code of an answer that must be an error."""
    response, body = await mirror.get(path)
    assert body != IMAGE.manifest.data
    return response.status, error_code(body)


async def told(mirror: RunningMirror) -> str:
    """What an answer that must be a refusal tells of its cause, which the log has as well."""
    response, body = await mirror.get(MANIFEST)
    assert response.status == 403
    return str(json.loads(body)["errors"][0]["message"])


async def pulled(mirror: RunningMirror, path: str = MANIFEST) -> bytes:
    """The body of an answer that must be whole."""
    response, body = await mirror.get(path)
    assert response.status == 200, body
    return body


# The schemes. --------------------------------------------------------------------------------------------


async def test_no_challenge_no_credentials(mirror: RunningMirror, journal: Journal) -> None:
    assert await pulled(mirror) == IMAGE.manifest.data
    assert conversation(journal) == [
        f"registry HEAD {MANIFEST} none 200",
        f"registry GET /v2/library/alpine/manifests/{IMAGE.digest} none 200",
    ]


async def test_a_token_is_fetched_once_and_then_sent_unasked(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    assert await pulled(mirror) == IMAGE.manifest.data
    for blob in IMAGE.blobs:
        assert await pulled(mirror, f"/v2/library/alpine/blobs/{blob.digest}") == blob.data
    assert conversation(journal) == [
        f"registry HEAD {MANIFEST} none 401",
        "tokens GET /token none 200",
        f"registry HEAD {MANIFEST} bearer 200",
        f"registry GET /v2/library/alpine/manifests/{IMAGE.digest} bearer 200",
        *(f"registry GET /v2/library/alpine/blobs/{blob.digest} bearer 200" for blob in IMAGE.blobs),
    ]
    asked = journal.entries[1]
    assert scopes(asked) == [PULL]
    assert f"service={token_service.service}" in asked.query
    assert "account" not in asked.query
    assert await mirror.metric('mirror_token_requests_total{outcome="granted",upstream="docker.io"}') == 1


async def test_basic(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    tmp_path: Path,
) -> None:
    registry.auth = BasicAuth("robot$ci", SECRET)
    upstream = with_credentials(tmp_path, docker_io(registry, token_service), "robot$ci")
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        assert await pulled(mirror) == IMAGE.manifest.data
        assert await pulled(mirror, BLOB) == LAYER.data
    assert conversation(journal) == [
        f"registry HEAD {MANIFEST} none 401",
        f"registry HEAD {MANIFEST} basic 200",
        f"registry GET /v2/library/alpine/manifests/{IMAGE.digest} basic 200",
        f"registry GET {BLOB} basic 200",
    ]


async def test_basic_without_credentials_is_refused_after_one_request(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.auth = BasicAuth("ci", SECRET)
    assert await refused(mirror) == (403, "DENIED")
    assert conversation(journal) == [f"registry HEAD {MANIFEST} none 401"]


async def test_basic_with_the_wrong_password_ends_after_one_try(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    tmp_path: Path,
) -> None:
    registry.auth = BasicAuth("ci", "another")
    upstream = with_credentials(tmp_path, docker_io(registry, token_service), "ci")
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        assert await refused(mirror) == (403, "DENIED")
        assert conversation(journal) == [f"registry HEAD {MANIFEST} none 401", f"registry HEAD {MANIFEST} basic 401"]
        assert "refuses the mirror's credentials (upstreams.docker.io.credentials)" in await told(mirror)


@pytest.mark.parametrize("bound", [True, False])
async def test_a_token_service_that_refuses_the_password_is_told_from_one_that_did_not_see_it(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path, bound: bool
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": "another"}
    token_service.require_credentials = True
    upstream = with_credentials(tmp_path, docker_io(registry, token_service), "ci")
    async with start_mirror(upstreams={"docker.io": upstream if bound else {**upstream, "realms": []}}) as mirror:
        assert ("refuses the mirror's credentials (upstreams.docker.io.credentials)" in await told(mirror)) is bound


# Challenges, as registries send them. --------------------------------------------------------------------

CHALLENGES: dict[str, str | tuple[str, ...]] = {
    "usual": 'Bearer realm="{realm}",service="{service}",scope="{scope}"',
    "with spaces": 'Bearer  realm = "{realm}" , service = "{service}" , scope = "{scope}" ',
    "scheme and names in other cases": 'bEARER Realm="{realm}",SERVICE="{service}",Scope="{scope}"',
    "in another order": 'Bearer scope="{scope}",service="{service}",realm="{realm}"',
    "unquoted service": 'Bearer realm="{realm}",service={service},scope="{scope}"',
    "all unquoted": "Bearer realm={realm},service={service},scope={scope}",
    "no scope": 'Bearer realm="{realm}",service="{service}"',
    "empty scope": 'Bearer realm="{realm}",service="{service}",scope=""',
    "with an error": 'Bearer realm="{realm}",service="{service}",scope="{scope}",error="insufficient_scope"',
    "unknown parameters": 'Bearer realm="{realm}",nonce=x,service="{service}",x-y="a, b=c",scope="{scope}"',
    "escapes": 'Bearer realm="{realm}",comment="a \\"quoted\\", word",service="{service}",scope="{scope}"',
    "Basic before it": 'Basic realm="quay.io", Bearer realm="{realm}",service="{service}",scope="{scope}"',
    "Basic after it": 'Bearer realm="{realm}",service="{service}",scope="{scope}", BASIC realm="x, y"',
    "a bare scheme before it": 'Negotiate, Bearer realm="{realm}",service="{service}",scope="{scope}"',
    "a token68 before it": 'NTLM TlRMTVNTUAAB==, Bearer realm="{realm}",service="{service}",scope="{scope}"',
    "two headers": ('Basic realm="x"', 'Bearer realm="{realm}",service="{service}",scope="{scope}"'),
    "two headers, the other way": ('Bearer realm="{realm}",service="{service}",scope="{scope}"', 'Basic realm="x"'),
    "a realm with a query": 'Bearer realm="{realm}?client=x&y=%2F",service="{service}",scope="{scope}"',
}


@pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES.keys())
async def test_a_challenge_is_understood(
    mirror: RunningMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    challenge: str | tuple[str, ...],
) -> None:
    registry.auth = TokenAuth(token_service, challenge=challenge)
    assert await pulled(mirror) == IMAGE.manifest.data
    assert await pulled(mirror, BLOB) == LAYER.data
    (asked,) = journal.select(host="tokens")
    assert scopes(asked) == [PULL]
    assert journal.count(status=401) == 1


async def test_a_challenge_for_more_than_pulling(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(
        token_service, challenge='Bearer realm="{realm}",service="{service}",scope="{scope},push"'
    )
    assert await pulled(mirror) == IMAGE.manifest.data
    assert await pulled(mirror, BLOB) == LAYER.data
    assert journal.count(status=401) == 1


async def test_the_query_of_a_realm_is_kept(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service, challenge=CHALLENGES["a realm with a query"])
    await pulled(mirror)
    (asked,) = journal.select(host="tokens")
    parameters = Request("GET", f"/?{asked.query}", ()).parameters
    assert parameters == [("client", "x"), ("y", "/"), ("service", token_service.service), ("scope", PULL)]


@pytest.mark.parametrize("service", ["registry.example.com:cn-hangzhou:26842", "Sonatype Nexus, Manager", "a=b&c=d"])
async def test_a_service_with_special_characters(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, service: str
) -> None:
    token_service.service = service
    registry.auth = TokenAuth(token_service)
    assert await pulled(mirror) == IMAGE.manifest.data
    assert token_service.requests() == 1


async def test_a_scope_that_is_no_repository_holds_for_all(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    other = content.image(layers=1, seed="other")
    registry.add_image("owner/app", "1.0", other)
    registry.auth = TokenAuth(token_service, scope="aws")
    assert await pulled(mirror) == IMAGE.manifest.data
    assert await pulled(mirror, "/v2/owner/app/manifests/1.0") == other.manifest.data
    (asked,) = journal.select(host="tokens")
    assert scopes(asked) == ["aws"]
    assert journal.count(status=401) == 1


NONSENSE = {
    "nothing": "",
    "only a scheme": "Bearer",
    "no realm": 'Bearer service="x"',
    "empty realm": 'Bearer realm="",service="x"',
    "unterminated": 'Bearer realm="http://127.0.0.1/token,service="x',
    "a relative realm": 'Bearer realm="/token",service="x"',
    "a network path": 'Bearer realm="//127.0.0.1/token"',
    "a file": 'Bearer realm="file:///etc/passwd"',
    "another protocol": 'Bearer realm="ftp://127.0.0.1/token"',
    "no host": 'Bearer realm="http:///token"',
    "half an address": 'Bearer realm="http://[::1/token"',
    "a port out of range": 'Bearer realm="http://127.0.0.1:99999/token"',
    "not a port": 'Bearer realm="http://127.0.0.1:http/token"',
    "an unknown scheme": 'Negotiate abc==, Digest realm="x", nonce="y"',
    "commas": ",,,,,",
    "equals": "=====",
    "long": "Bearer " + "x=y, " * 5000,
}


@pytest.mark.usefixtures("undaunted")
async def test_a_nonsense_challenge_is_an_error_and_nobody_else_is_asked(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    for number, (name, challenge) in enumerate(NONSENSE.items()):
        registry.auth = BasicAuth("ci", SECRET, challenge=challenge or ())
        path = f"/v2/owner/app/manifests/{number}"
        assert await refused(mirror, path) in {(403, "DENIED"), (502, "UNAVAILABLE")}, name
        assert conversation(journal) == [f"registry HEAD {path} none 401"], name
        journal.clear()


@pytest.mark.parametrize("challenge", ['Bearer realm="",service="x"', 'Bearer realm="http://[::1/token"'])
async def test_a_nonsense_challenge_is_forgotten_when_the_registry_is_itself_again(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, challenge: str
) -> None:
    registry.auth = BasicAuth("ci", SECRET, challenge=challenge)
    await refused(mirror)
    registry.auth = TokenAuth(token_service)
    assert await pulled(mirror, BLOB) == LAYER.data


async def test_a_registry_that_moves_its_token_service_is_followed(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    await pulled(mirror)
    await token_service.stop()
    async with FakeTokenService(journal, name="moved") as moved:
        registry.auth = TokenAuth(moved)
        # The first token is still remembered, and refused by the registry, which names the new place.
        assert await pulled(mirror, BLOB) == LAYER.data


async def test_a_token_service_that_moved_while_no_token_was_left_is_followed(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    await pulled(mirror)
    await token_service.stop()
    other = content.image(layers=1, seed="other")
    registry.add_image("owner/app", "1.0", other)
    async with FakeTokenService(journal, name="moved") as moved:
        registry.auth = TokenAuth(moved)
        path = f"/v2/owner/app/blobs/{other.layers[0].digest}"
        assert await pulled(mirror, path) == other.layers[0].data


@pytest.mark.parametrize("answered", [400, 404, 403, 401])
async def test_a_token_service_that_moved_and_left_an_error_in_its_place_is_followed(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, answered: int
) -> None:
    registry.auth = TokenAuth(token_service)
    await pulled(mirror)
    other = content.image(layers=1, seed="other")
    registry.add_image("owner/app", "1.0", other)
    registry.auth = TokenAuth(token_service, realm=f"{token_service.url}/v2/token")
    token_service.always("/token", faults.status(answered))
    # The token that cannot be had beforehand is nobody's trouble: the registry is asked, and names the new place.
    assert await pulled(mirror, "/v2/owner/app/manifests/1.0") == other.manifest.data
    assert await pulled(mirror, f"/v2/owner/app/blobs/{other.layers[0].digest}") == other.layers[0].data


async def test_a_registry_that_opens_up_needs_no_token_service_any_more(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService
) -> None:
    registry.auth = TokenAuth(token_service)
    other = content.image(layers=1, seed="other")
    registry.add_image("owner/app", "1.0", other)
    await pulled(mirror)
    await token_service.stop()
    registry.auth = Anonymous()
    assert await pulled(mirror, f"/v2/owner/app/blobs/{other.layers[0].digest}") == other.layers[0].data


# Token answers. ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [("token",), ("access_token",), ("token", "access_token")])
async def test_either_name_of_a_token(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, fields: tuple[str, ...]
) -> None:
    token_service.fields = fields
    registry.auth = TokenAuth(token_service)
    assert await pulled(mirror) == IMAGE.manifest.data


def rewritten(change: Callable[[dict[str, Any]], object]) -> Fault:
    """The healthy answer of a token service, with its document changed."""

    def rewrite(answer: Answer) -> Answer:
        document = json.loads(answer.body)
        change(document)
        return replace(answer, body=json.dumps(document).encode())

    return rewrite


def living(lifetime: object) -> Fault:
    """A token that lives that long."""
    return rewritten(lambda document: document.update(expires_in=lifetime))


LIFETIMES: list[object] = [
    3600,
    61,
    0,
    -1,
    -1e300,
    None,
    True,
    "3600",
    "soon",
    [],
    {},
    1e300,
    10**400,
    float("inf"),
    float("nan"),
]


async def test_any_lifetime_of_a_token_is_taken(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    for number, lifetime in enumerate(LIFETIMES):
        other = content.image(layers=1, seed=number)
        registry.add_image(f"owner/app{number}", "1.0", other)
        token_service.always("*", living(lifetime))
        assert await pulled(mirror, f"/v2/owner/app{number}/manifests/1.0") == other.manifest.data
        layer = other.layers[0]
        assert await pulled(mirror, f"/v2/owner/app{number}/blobs/{layer.digest}") == layer.data
        # What is no lifetime at all counts as the usual minute.
        assert token_service.requests() == 1, lifetime
        token_service.heal()
        journal.clear()


async def test_a_token_without_lifetime_lives_a_minute(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService
) -> None:
    token_service.expires_in = None
    registry.auth = TokenAuth(token_service)
    await pulled(mirror)
    await pulled(mirror, BLOB)
    assert token_service.requests() == 1


async def test_a_token_is_renewed_before_it_ends(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    token_service.expires_in = 1
    registry.auth = TokenAuth(token_service)
    # The service's clock stands still: nothing but the mirror's own judgement ends the token.
    blobs = (content.blob(64, seed) for seed in range(1000))
    async with asyncio.timeout(45):
        while token_service.requests() < 2:
            blob = next(blobs)
            registry.put_blob("library/alpine", blob)
            assert await pulled(mirror, f"/v2/library/alpine/blobs/{blob.digest}") == blob.data
            await asyncio.sleep(0.02)
    assert journal.count(status=401) == 1


async def test_a_token_that_ended_early_is_replaced_once(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    await pulled(mirror)
    journal.clear()
    token_service.advance(301)
    assert await pulled(mirror, BLOB) == LAYER.data
    assert conversation(journal) == [
        f"registry GET {BLOB} bearer 401",
        "tokens GET /token none 200",
        f"registry GET {BLOB} bearer 200",
    ]


async def test_a_revoked_token_is_replaced_once_for_everybody(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    blobs = [content.blob(64, seed) for seed in range(20)]
    for blob in blobs:
        registry.put_blob("library/alpine", blob)
    registry.auth = TokenAuth(token_service)
    await pulled(mirror)
    journal.clear()
    registry.revoke_tokens()
    answers = await asyncio.gather(*(pulled(mirror, f"/v2/library/alpine/blobs/{blob.digest}") for blob in blobs))
    assert answers == [blob.data for blob in blobs]
    assert token_service.requests() == 1
    assert journal.count(status=200, host="registry") == len(blobs)
    assert journal.count(authorization="none", host="registry") == 0


# One token a scope. --------------------------------------------------------------------------------------


async def test_one_token_request_for_fifty_waiters(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    blobs = [content.blob(64, seed) for seed in range(50)]
    for blob in blobs:
        registry.put_blob("library/alpine", blob)
    registry.auth = TokenAuth(token_service)
    gate = Gate()
    token_service.fault("*", faults.hold(gate))
    clients = [asyncio.create_task(pulled(mirror, f"/v2/library/alpine/blobs/{blob.digest}")) for blob in blobs]
    await journal.wait_for(50, host="registry")
    await gate.reached()
    gate.open()
    assert await asyncio.gather(*clients) == [blob.data for blob in blobs]
    assert token_service.requests() == 1
    assert (journal.count(status=401), journal.count(status=200, host="registry")) == (50, 50)


async def test_one_token_a_repository(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.add_image("owner/app", "1.0", content.image(layers=1, seed="other"))
    registry.auth = TokenAuth(token_service)
    for _ in range(2):
        await pulled(mirror)
        await pulled(mirror, BLOB)
        await pulled(mirror, "/v2/owner/app/manifests/1.0")
    asked = journal.select(host="tokens")
    assert [scopes(entry) for entry in asked] == [[PULL], ["repository:owner/app:pull"]]
    # The second repository is not tried without a token first.
    assert journal.count(status=401) == 1


async def test_a_repository_that_is_refused_does_not_close_the_others(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.add_image("owner/private", "1.0", content.image(layers=1, seed="private"))
    registry.auth = TokenAuth(token_service)
    token_service.restrict("owner/private", "someone")
    assert await refused(mirror, "/v2/owner/private/manifests/1.0") == (403, "DENIED")
    assert await pulled(mirror) == IMAGE.manifest.data
    count = len(journal.entries)
    assert await refused(mirror, "/v2/owner/private/manifests/1.0") == (403, "DENIED")
    assert len(journal.entries) == count


class Insatiable(TokenAuth):
    """Takes no token for good enough."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        return unauthorized(f'Bearer realm="{self.tokens.realm}",service="{self.tokens.service}",error="invalid_token"')


async def test_a_registry_that_takes_no_token_is_asked_twice_and_no_more(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = Insatiable(token_service)
    assert await refused(mirror) == (403, "DENIED")
    assert conversation(journal) == [
        f"registry HEAD {MANIFEST} none 401",
        "tokens GET /token none 200",
        f"registry HEAD {MANIFEST} bearer 401",
    ]
    journal.clear()
    assert await refused(mirror, BLOB) == (403, "DENIED")
    assert (journal.count(host="registry"), token_service.requests()) == (2, 1)
    assert journal.count(authorization="none", host="registry") == 0


async def test_a_401_without_challenge_is_a_refusal(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.always("/v2/*", faults.status(401))
    assert await refused(mirror) == (403, "DENIED")
    assert journal.paths() == [f"HEAD {MANIFEST}"]


# A token service in trouble. -----------------------------------------------------------------------------

MIB = 1024 * 1024
TROUBLES: dict[str, tuple[Fault, tuple[int, str]]] = {
    "500": (faults.status(500), (502, "UNAVAILABLE")),
    "503": (faults.status(503), (502, "UNAVAILABLE")),
    "429": (faults.status(429, 17), (503, "UNAVAILABLE")),
    "400": (faults.status(400), (502, "UNAVAILABLE")),
    "404": (faults.status(404), (502, "UNAVAILABLE")),
    "401": (faults.status(401), (403, "DENIED")),
    "403": (faults.status(403), (403, "DENIED")),
    "a log-in page": (faults.html, (502, "UNAVAILABLE")),
    "nothing": (faults.answer_with(200, b""), (502, "UNAVAILABLE")),
    "204": (faults.answer_with(204, b""), (502, "UNAVAILABLE")),
    "no token": (rewritten(lambda document: document.pop("token")), (502, "UNAVAILABLE")),
    "an empty token": (rewritten(lambda document: document.update(token="")), (502, "UNAVAILABLE")),
    "a number": (rewritten(lambda document: document.update(token=5)), (502, "UNAVAILABLE")),
    "a list": (faults.answer_with(200, b'["token"]'), (502, "UNAVAILABLE")),
    "deep nesting": (faults.answer_with(200, b"[" * 60_000), (502, "UNAVAILABLE")),
    "a line break in it": (rewritten(lambda document: document.update(token="a\r\nX-Evil: 1")), (502, "UNAVAILABLE")),
    "a space in it": (rewritten(lambda document: document.update(token="a b")), (502, "UNAVAILABLE")),
    "no ASCII": (rewritten(lambda document: document.update(token="t\N{SNOWMAN}")), (502, "UNAVAILABLE")),
    "10 MB": (rewritten(lambda document: document.update(padding="x" * 10 * MIB)), (502, "UNAVAILABLE")),
    "endless": (faults.endless, (502, "UNAVAILABLE")),
    "compressed": (faults.gzip_encoded, (502, "UNAVAILABLE")),
    "no answer": (faults.dropped, (502, "UNAVAILABLE")),
    "not HTTP": (faults.raw(b"220 smtp.example.com ESMTP\r\n"), (502, "UNAVAILABLE")),
    "half an answer": (faults.short_body(5), (502, "UNAVAILABLE")),
}


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_a_token_service_in_trouble_is_an_error_of_the_upstream(
    mirror: RunningMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    tmp_path: Path,
    trouble: tuple[Fault, tuple[int, str]],
) -> None:
    fault, expected = trouble
    registry.auth = TokenAuth(token_service)
    token_service.always("*", fault)
    response, body = await mirror.get(MANIFEST)
    assert (response.status, error_code(body)) == expected
    assert response.headers.get("Retry-After") == ("17" if expected[0] == 503 else None)
    assert journal.count(host="registry", authorization="bearer") == 0
    assert journal.body_bytes(host="tokens") < 3 * MIB
    assert not CacheFolder(tmp_path / "cache").digests()
    # What needs no look-up through that failure works as soon as the service does.
    token_service.heal()
    assert await pulled(mirror, BLOB) == LAYER.data


async def test_a_token_service_that_is_down_and_comes_back(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService
) -> None:
    registry.auth = TokenAuth(token_service)
    await token_service.stop()
    assert await refused(mirror) == (502, "UNAVAILABLE")
    assert await refused(mirror, BLOB) == (502, "UNAVAILABLE")
    assert await mirror.metric('mirror_token_requests_total{outcome="failed",upstream="docker.io"}') >= 1
    await token_service.start()
    assert await pulled(mirror, BLOB) == LAYER.data


@pytest.mark.usefixtures("impatient")
async def test_a_token_service_that_hangs_is_given_up(
    mirror: RunningMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.hang()
    assert await refused(mirror) == (504, "UNAVAILABLE")
    token_service.resume()
    assert await pulled(mirror, BLOB) == LAYER.data


@pytest.mark.usefixtures("impatient")
async def test_a_token_answer_that_drips_is_given_up_by_everybody(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.fault("*", faults.slow(1, 0.15))
    async with asyncio.timeout(45):
        waiters = [refused(mirror, path) for path in (MANIFEST, BLOB, MANIFEST, BLOB)]
        assert await asyncio.gather(*waiters) == [(504, "UNAVAILABLE")] * 4
        # Nobody waits for that answer any longer: who comes now asks anew, for the very same scope.
        while (await mirror.get(BLOB))[0].status != 200:  # noqa: ASYNC110  # a request to make, not an event
            await asyncio.sleep(0.01)
    assert token_service.requests() == 2


@pytest.mark.parametrize("answered", [400, 404, 500])
async def test_a_token_service_in_trouble_leaves_a_cached_tag_alone(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, answered: int
) -> None:
    registry.auth = TokenAuth(token_service)
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await pulled(mirror)
        registry.revoke_tokens()
        token_service.always("*", faults.status(answered))
        for _ in range(2):
            response, body = await mirror.get(MANIFEST)
            assert (response.status, body) == (200, IMAGE.manifest.data)
            assert "fwd=stale" in response.headers["Cache-Status"]
        # Nor is it forgotten when the registry is gone as well.
        await registry.stop()
        assert await pulled(mirror) == IMAGE.manifest.data


async def test_what_is_cached_needs_no_token_service(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService
) -> None:
    registry.auth = TokenAuth(token_service)
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await pulled(mirror)
        await pulled(mirror, BLOB)
        token_service.revoke()
        await token_service.stop()
        response, body = await mirror.get(MANIFEST)
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert "fwd=stale" in response.headers["Cache-Status"]
        assert await pulled(mirror, f"/v2/library/alpine/manifests/{IMAGE.digest}") == IMAGE.manifest.data
        assert await pulled(mirror, BLOB) == LAYER.data


# Credentials. --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Site:
    """A registry that challenges, its token service, and another one that nobody has named in the configuration."""

    registry: FakeRegistry
    tokens: FakeTokenService
    evil: FakeTokenService

    def upstream(self, tmp_path: Path, user: str = "ci", secret: str = SECRET) -> dict[str, Any]:
        return with_credentials(tmp_path, docker_io(self.registry, self.tokens), user, secret)


@pytest.fixture
async def site(registry: FakeRegistry, token_service: FakeTokenService, journal: Journal) -> Any:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": SECRET, "robot$x": "p:w"}
    token_service.restrict("library/*", "ci", "robot$x")
    async with FakeTokenService(journal, name="evil") as evil:
        yield Site(registry, token_service, evil)


@pytest.mark.parametrize(("user", "secret"), [("ci", SECRET), ("robot$x", "p:w")])
async def test_a_private_image_with_the_credentials_of_a_file(
    start_mirror: StartMirror, site: Site, journal: Journal, tmp_path: Path, user: str, secret: str
) -> None:
    async with start_mirror(upstreams={"docker.io": site.upstream(tmp_path, user, secret)}) as mirror:
        assert await pulled(mirror) == IMAGE.manifest.data
        assert await pulled(mirror, BLOB) == LAYER.data
    (asked,) = journal.select(host="tokens")
    assert basic_credentials(asked.header("Authorization")) == (user, secret)
    assert {entry.authorization for entry in journal.select(host="registry")} == {"none", "bearer"}


async def test_a_private_image_without_credentials_is_refused(
    mirror: RunningMirror, site: Site, journal: Journal, tmp_path: Path
) -> None:
    assert await refused(mirror) == (403, "DENIED")
    assert await refused(mirror, BLOB) == (403, "DENIED")
    assert await refused(mirror, f"/v2/library/alpine/manifests/{IMAGE.digest}") == (403, "DENIED")
    assert not CacheFolder(tmp_path / "cache").digests()


async def test_an_account_that_is_unknown_to_the_token_service(
    start_mirror: StartMirror, site: Site, journal: Journal, tmp_path: Path
) -> None:
    async with start_mirror(upstreams={"docker.io": site.upstream(tmp_path, secret="another")}) as mirror:
        assert await refused(mirror) == (403, "DENIED")
    assert conversation(journal) == [f"registry HEAD {MANIFEST} none 401", "tokens GET /token basic 401"]


async def test_two_accounts_do_not_share_tokens_nor_access(
    start_mirror: StartMirror, site: Site, journal: Journal, tmp_path: Path
) -> None:
    theirs = content.image(layers=1, seed="theirs")
    site.registry.add_image("secret/app", "1.0", theirs)
    site.tokens.accounts["other"] = "other-secret"
    site.tokens.restrict("secret/*", "other")
    upstreams = {
        "docker.io": site.upstream(tmp_path),
        "other.example": site.upstream(tmp_path, "other", "other-secret"),
    }
    async with start_mirror(upstreams=upstreams) as mirror:
        assert await pulled(mirror, "/v2/secret/app/manifests/1.0?ns=other.example") == theirs.manifest.data
        layer = theirs.layers[0].digest
        assert await pulled(mirror, f"/v2/secret/app/blobs/{layer}?ns=other.example") == theirs.layers[0].data
        # Everything is on disk now, and still another account's.
        for path in ("manifests/1.0", f"manifests/{theirs.digest}", f"blobs/{layer}"):
            for method in ("GET", "HEAD"):
                response, _ = await mirror.get(f"/v2/secret/app/{path}", method)
                assert response.status == 403, path
                assert theirs.digest not in str(response.headers)
        assert await pulled(mirror) == IMAGE.manifest.data
        assert await refused(mirror, f"{MANIFEST}?ns=other.example") == (403, "DENIED")
    given = {basic_credentials(entry.header("Authorization")) for entry in journal.select(host="tokens")}
    assert given == {("ci", SECRET), ("other", "other-secret")}


async def test_credentials_stay_with_token_services_they_are_bound_to(
    start_mirror: StartMirror, site: Site, journal: Journal, tmp_path: Path
) -> None:
    site.registry.auth = TokenAuth(site.tokens, realm=site.evil.realm)
    async with start_mirror(upstreams={"docker.io": site.upstream(tmp_path)}) as mirror:
        assert await refused(mirror) == (403, "DENIED")
        assert await refused(mirror, BLOB) == (403, "DENIED")
    asked = journal.select(host="evil")
    assert asked
    for entry in asked:
        assert entry.authorization == "none"
        assert "account" not in entry.query
        assert not {"ci", SECRET} & {value for _, value in Request("GET", f"/?{entry.query}", ()).parameters}
    assert journal.count(authorization="basic") == 0


async def test_a_public_image_is_had_without_credentials_from_an_unbound_token_service(
    start_mirror: StartMirror, site: Site, journal: Journal, tmp_path: Path
) -> None:
    site.registry.auth = TokenAuth(site.evil)
    async with start_mirror(upstreams={"docker.io": site.upstream(tmp_path)}) as mirror:
        assert await pulled(mirror) == IMAGE.manifest.data
    assert [entry.authorization for entry in journal.select(host="evil")] == ["none"]


@pytest.mark.parametrize(
    "realm",
    [
        "http://localhost:{port}/token",
        "http://127.0.0.2:{port}/token",
        "http://ci@127.0.0.1:{port}/token",
        "http://127.0.0.1:{port}@{evil}/token",
        "http://{evil}#@127.0.0.1:{port}/token",
        "http://{evil}/token?http://127.0.0.1:{port}/token",
        "http://{evil}\\\\@127.0.0.1:{port}/token",
        "HTTP://{evil}/token",
    ],
)
async def test_an_address_that_looks_like_the_bound_one_gets_no_credentials(
    start_mirror: StartMirror, site: Site, journal: Journal, tmp_path: Path, realm: str
) -> None:
    hostile = realm.format(port=site.tokens.port, evil=site.evil.host)
    site.registry.auth = TokenAuth(site.tokens, realm=hostile)
    async with start_mirror(upstreams={"docker.io": site.upstream(tmp_path)}) as mirror:
        assert (await refused(mirror))[0] in {403, 502}
    assert journal.count(authorization="basic") == 0
    journal.expect_unknown()


async def test_credentials_do_not_follow_a_redirect_of_the_token_service(
    start_mirror: StartMirror, site: Site, journal: Journal, tmp_path: Path
) -> None:
    query = f"service={site.evil.service}&scope={PULL}"
    site.tokens.always("*", lambda _: Answer(307, (("Location", f"{site.evil.realm}?{query}"),)))
    async with start_mirror(upstreams={"docker.io": site.upstream(tmp_path)}) as mirror:
        assert await refused(mirror) == (403, "DENIED")
    assert [entry.authorization for entry in journal.select(host="tokens")] == ["basic"]
    assert {entry.authorization for entry in journal.select(host="evil")} == {"none"}


async def test_a_token_is_sent_to_its_registry_only(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
) -> None:
    other_registry.add_image("library/alpine", "3.20", IMAGE)
    registry.auth = TokenAuth(token_service)
    upstreams = {"ghcr.io": docker_io(other_registry, token_service), "docker.io": docker_io(registry, token_service)}
    async with start_mirror(upstreams=upstreams) as mirror:
        await pulled(mirror)
        await pulled(mirror, f"{MANIFEST}?ns=ghcr.io")
    assert {entry.authorization for entry in journal.select(host="other")} == {"none"}


async def test_secrets_are_nowhere_to_be_found(site: Site, tmp_path: Path) -> None:
    config = configuration(
        site.registry,
        site.tokens,
        tmp_path,
        upstreams={"docker.io": site.upstream(tmp_path)},
        log={"level": "debug", "format": "json"},
    )
    seen: list[bytes] = []
    async with serving(config, tmp_path) as mirror:
        site.registry.auth = TokenAuth(site.tokens, realm=site.evil.realm)
        seen.append((await mirror.get(MANIFEST))[1])
        await mirror.logged(lambda line: "credentials withheld" in line)
        site.registry.auth = TokenAuth(site.tokens)
        digest = f"/v2/library/alpine/manifests/{IMAGE.digest}"
        for path in (digest, BLOB, digest, BLOB):
            response, body = await mirror.get(path)
            assert response.status == 200
            seen += [body, str(response.headers).encode()]
        seen += [(await mirror.admin(path))[1] for path in ("/metrics", "/livez", "/readyz")]
        mirror.terminate()
        assert await mirror.exit_code() == 0
        seen += ["\n".join(mirror.log).encode(), "\n".join(mirror.stderr).encode()]
    files = [file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert len(files) > 4
    basic = base64.b64encode(f"ci:{SECRET}".encode())
    tokens = [token.encode() for token in (*site.tokens.issued, *site.evil.issued)]
    assert len(tokens) >= 2
    for secret in (SECRET.encode(), basic, *tokens):
        assert not [text for text in (*seen, *files) if secret in text], secret


# TLS. ----------------------------------------------------------------------------------------------------


async def test_a_token_service_without_tls_is_no_token_service_of_a_registry_with_tls(
    journal: Journal, token_service: FakeTokenService, tmp_path: Path
) -> None:
    token_service.accounts = {"ci": SECRET}
    async with FakeRegistry(journal, TokenAuth(token_service), "secure", server_context(tmp_path)) as secure:
        secure.add_image("library/alpine", "3.20", IMAGE)
        upstream = with_credentials(tmp_path, docker_io(secure, token_service), "ci")
        config = configuration(secure, token_service, tmp_path, upstreams={"docker.io": upstream})
        async with serving(config, tmp_path, trusting(tmp_path)) as mirror:
            response, body = await mirror.get(MANIFEST)
            assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
            assert token_service.requests() == 0

        secure.auth = BasicAuth("ci", SECRET)
        async with serving(config, tmp_path, trusting(tmp_path)) as mirror:
            response, body = await mirror.get(BLOB)
            assert (response.status, body) == (200, LAYER.data)


async def test_a_certificate_that_is_not_trusted_is_an_error_and_never_plain_http(
    journal: Journal, token_service: FakeTokenService, start_mirror: StartMirror, tmp_path: Path
) -> None:
    async with FakeRegistry(journal, name="secure", tls=server_context(tmp_path)) as secure:
        secure.add_image("library/alpine", "3.20", IMAGE)
        async with start_mirror(upstreams={"docker.io": docker_io(secure, token_service)}) as mirror:
            assert await refused(mirror) == (502, "UNAVAILABLE")
    assert not journal.entries
