"""The ways a fake registry lets clients in, and its token service."""

import asyncio

import aiohttp
import pytest

from tests.fakes import content, faults
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService

PULL = "repository:team/app:pull"
LAYER = content.blob()


@pytest.fixture(autouse=True)
def auth(registry: FakeRegistry, token_service: FakeTokenService) -> TokenAuth:
    chosen = TokenAuth(token_service)
    registry.auth = chosen
    registry.put_blob("team/app", LAYER)
    return chosen


async def get_token(
    client: aiohttp.ClientSession,
    service: FakeTokenService,
    scope: str | None = PULL,
    login: tuple[str, str] | None = None,
) -> str:
    parameters = {"service": service.service} | ({"scope": scope} if scope else {})
    headers = {"Authorization": aiohttp.encode_basic_auth(*login)} if login else {}
    async with client.get(service.realm, params=parameters, headers=headers) as response:
        assert response.status == 200, response.status
        document = await response.json()
        return str(document.get("token") or document.get("access_token"))


async def read(
    client: aiohttp.ClientSession, registry: FakeRegistry, token: str | None, repository: str = "team/app"
) -> tuple[int, str]:
    """Status of a blob request, and the challenge if any."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{registry.url}/v2/{repository}/blobs/{LAYER.digest}"
    async with client.get(url, headers=headers) as response:
        return response.status, response.headers.get("WWW-Authenticate", "")


async def test_token_opens_its_scope_only(
    registry: FakeRegistry, token_service: FakeTokenService, client: aiohttp.ClientSession
) -> None:
    registry.put_blob("other", LAYER)
    token = await get_token(client, token_service)
    assert (await read(client, registry, token))[0] == 200
    status, challenge = await read(client, registry, token, "other")
    assert status == 401
    assert challenge.endswith('scope="repository:other:pull",error="insufficient_scope"')


async def test_several_scopes(
    registry: FakeRegistry, token_service: FakeTokenService, client: aiohttp.ClientSession
) -> None:
    registry.put_blob("other", LAYER)
    token = await get_token(client, token_service, f"{PULL} repository:other:pull,push")
    assert (await read(client, registry, token))[0] == 200
    assert (await read(client, registry, token, "other"))[0] == 200


async def test_token_expires_by_the_services_clock(
    registry: FakeRegistry, token_service: FakeTokenService, client: aiohttp.ClientSession
) -> None:
    token_service.expires_in = None
    token = await get_token(client, token_service)
    token_service.advance(59)
    assert (await read(client, registry, token))[0] == 200
    token_service.advance(1)
    status, challenge = await read(client, registry, token)
    assert (status, "invalid_token" in challenge) == (401, True)


async def test_revoked_token(
    registry: FakeRegistry, token_service: FakeTokenService, client: aiohttp.ClientSession
) -> None:
    token = await get_token(client, token_service)
    registry.revoke_tokens()
    status, challenge = await read(client, registry, token)
    assert (status, 'error="invalid_token"' in challenge) == (401, True)


async def test_a_challenge_uses_up_no_fault(
    registry: FakeRegistry, token_service: FakeTokenService, client: aiohttp.ClientSession
) -> None:
    registry.fault("*/blobs/*", faults.status(503))
    assert (await read(client, registry, None))[0] == 401
    token = await get_token(client, token_service)
    assert [(await read(client, registry, token))[0] for _ in range(2)] == [503, 200]


@pytest.mark.parametrize(
    "fields", [("token",), ("access_token",), ("token", "access_token")], ids=["token", "access", "both"]
)
async def test_fields(token_service: FakeTokenService, client: aiohttp.ClientSession, fields: tuple[str, ...]) -> None:
    token_service.fields = fields
    token_service.expires_in = 90
    token_service.issued_at = "2024-01-01T00:00:00Z"
    async with client.get(token_service.realm, params={"service": token_service.service}) as response:
        document = await response.json()
    assert set(document) == {*fields, "expires_in", "issued_at"}


@pytest.mark.parametrize("login", [None, ("alice", "wrong"), ("bob", "secret")])
async def test_required_credentials(
    token_service: FakeTokenService, client: aiohttp.ClientSession, login: tuple[str, str] | None
) -> None:
    token_service.accounts = {"alice": "secret"}
    token_service.require_credentials = True
    headers = {"Authorization": aiohttp.encode_basic_auth(*login)} if login else {}
    parameters = {"service": token_service.service}
    async with client.get(token_service.realm, params=parameters, headers=headers) as response:
        assert response.status == 401
    assert await get_token(client, token_service, login=("alice", "secret"))


async def test_restricted_repository(
    registry: FakeRegistry, token_service: FakeTokenService, client: aiohttp.ClientSession
) -> None:
    token_service.accounts = {"alice": "secret", "bob": "secret"}
    token_service.restrict("team/*", "alice")
    statuses = {}
    for login in (None, ("alice", "secret"), ("bob", "secret")):
        token = await get_token(client, token_service, login=login)
        statuses[login and login[0]] = (await read(client, registry, token))[0]
    assert statuses == {None: 401, "alice": 200, "bob": 401}
    token_service.deny_status = 403
    async with client.get(token_service.realm, params={"service": token_service.service, "scope": PULL}) as response:
        assert response.status == 403


async def test_scopes_that_are_refused(token_service: FakeTokenService, client: aiohttp.ClientSession) -> None:
    token_service.allowed_scopes = ("repository:library/*:pull",)
    parameters = {"service": token_service.service, "scope": PULL}
    async with client.get(token_service.realm, params=parameters) as response:
        assert response.status == 403


async def test_wrong_service_is_unexpected(
    token_service: FakeTokenService, client: aiohttp.ClientSession, journal: Journal
) -> None:
    async with client.get(token_service.realm, params={"service": "nobody"}) as response:
        assert response.status == 400
    assert len(journal.expect_unknown()) == 1


async def test_scripted_token_answer(token_service: FakeTokenService, client: aiohttp.ClientSession) -> None:
    token_service.answer(200, b"not json")
    async with client.get(token_service.realm, params={"service": token_service.service}) as response:
        assert (response.status, await response.read()) == (200, b"not json")
    token_service.heal()
    assert await get_token(client, token_service)
    assert token_service.requests() == 2


async def test_hanging_token_service(
    token_service: FakeTokenService, client: aiohttp.ClientSession, journal: Journal
) -> None:
    token_service.hang()
    asked = asyncio.create_task(get_token(client, token_service))
    await journal.wait_for(host="tokens")
    assert not asked.done()
    token_service.resume()
    assert await asked


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (
            'Basic realm="x", Bearer realm="{realm}",scope="{scope}"',
            f'Basic realm="x", Bearer realm="R",scope="{PULL}"',
        ),
        ('BASIC realm="Sonatype"', 'BASIC realm="Sonatype"'),
        ("Bearer realm={realm},service={service}", "Bearer realm=R,service=fake-registry"),
    ],
)
async def test_challenge_verbatim(
    registry: FakeRegistry, client: aiohttp.ClientSession, auth: TokenAuth, template: str, wanted: str
) -> None:
    auth.realm, auth.challenge = "R", template
    assert (await read(client, registry, None))[1] == wanted


async def test_challenges_in_several_headers(
    registry: FakeRegistry, client: aiohttp.ClientSession, auth: TokenAuth
) -> None:
    auth.challenge = ('Basic realm="x"', 'Bearer realm="{realm}"')
    async with client.get(f"{registry.url}/v2/") as response:
        assert len(response.headers.getall("WWW-Authenticate")) == 2


async def test_scope_that_is_no_repository(
    registry: FakeRegistry, client: aiohttp.ClientSession, auth: TokenAuth, token_service: FakeTokenService
) -> None:
    auth.scope = "aws"
    assert 'scope="aws"' in (await read(client, registry, None))[1]
    assert (await read(client, registry, await get_token(client, token_service, "aws")))[0] == 200
    assert (await read(client, registry, await get_token(client, token_service)))[0] == 401


async def test_challenge_without_a_scope(
    registry: FakeRegistry, client: aiohttp.ClientSession, auth: TokenAuth, token_service: FakeTokenService
) -> None:
    auth.scope = ""
    assert "scope=" not in (await read(client, registry, None))[1]
    assert (await read(client, registry, await get_token(client, token_service)))[0] == 200
    assert (await read(client, registry, await get_token(client, token_service, None)))[0] == 401


async def test_basic(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    registry.auth = BasicAuth("alice", "se:cret", public=("library/*",))
    registry.put_blob("library/app", LAYER)
    assert await read(client, registry, None) == (401, 'Basic realm="fake-registry"')
    assert (await read(client, registry, None, "library/app"))[0] == 200
    headers = {"Authorization": aiohttp.encode_basic_auth("alice", "se:cret")}
    async with client.get(f"{registry.url}/v2/", headers=headers) as response:
        assert response.status == 200


async def test_an_identity_token_is_exchanged_for_a_token(
    registry: FakeRegistry, token_service: FakeTokenService, client: aiohttp.ClientSession
) -> None:
    token_service.restrict("team/*", "ci")
    token_service.identity_tokens = {"identity": "ci"}
    form = {
        "grant_type": "refresh_token",
        "service": token_service.service,
        "scope": PULL,
        "client_id": "test",
        "refresh_token": "identity",
    }
    async with client.post(token_service.realm, data=form) as response:
        assert response.status == 200
        token = (await response.json())["token"]
    assert (await read(client, registry, token))[0] == 200
    async with client.post(token_service.realm, data={**form, "refresh_token": "another"}) as response:
        assert (response.status, await response.json()) == (400, {"error": "invalid_grant"})
