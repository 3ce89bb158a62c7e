"""How the fake and the real registry refuse a client that has not logged in."""

import aiohttp
import pytest

from tests.contract.conftest import PASSWORD, REALM, SERVICE, USER, Subjects
from tests.contract.reply import ask, assert_error

# Each path with the repository its challenge names.
SCOPES = {
    "/v2/": "",
    "/v2/library/app/manifests/latest": "library/app",
    f"/v2/library/app/blobs/sha256:{'0' * 64}": "library/app",
    "/v2/app/tags/list": "app",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", SCOPES)
@pytest.mark.parametrize("authorization", [None, "Basic bm9ib2R5Om5vdGhpbmc=", "Bearer nonsense"])
async def test_basic_challenge(
    subjects: Subjects, client: aiohttp.ClientSession, path: str, method: str, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else None
    reply = await ask(client, subjects.basic.url + path, method, headers)
    assert_error(reply, method, 401, "UNAUTHORIZED")
    assert reply.headers["WWW-Authenticate"] == 'Basic realm="fake-registry"'


async def test_basic_credentials(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    header = {"Authorization": aiohttp.encode_basic_auth(USER, PASSWORD)}
    assert (await ask(client, f"{subjects.basic.url}/v2/", headers=header)).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "scope"), SCOPES.items())
@pytest.mark.parametrize("authorization", [None, "Basic bm9ib2R5Om5vdGhpbmc="])
async def test_bearer_challenge(
    subjects: Subjects,
    client: aiohttp.ClientSession,
    path: str,
    scope: str,
    method: str,
    authorization: str | None,
) -> None:
    headers = {"Authorization": authorization} if authorization else None
    reply = await ask(client, subjects.token.url + path, method, headers)
    assert_error(reply, method, 401, "UNAUTHORIZED")
    wanted = f',scope="repository:{scope}:pull"' if scope else ""
    assert reply.headers["WWW-Authenticate"] == f'Bearer realm="{REALM}",service="{SERVICE}"{wanted}'


async def test_bearer_challenge_to_a_bad_token(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    headers = {"Authorization": "Bearer nonsense"}
    reply = await ask(client, f"{subjects.token.url}/v2/a/manifests/1", headers=headers)
    assert_error(reply, "GET", 401, "UNAUTHORIZED")
    challenge = reply.headers["WWW-Authenticate"]
    assert challenge.endswith(',scope="repository:a:pull",error="invalid_token"')
