from __future__ import annotations

import asyncio
import base64

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror.errors import (
    CredentialsUnavailable,
    Denied,
    MirrorError,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from mirror.oci.reference import Repository
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.access import CredentialsWithheld
from mirror.proxy.limits.hold import HOLD_SECONDS
from mirror.proxy.tasks import Tasks
from mirror.upstream.auth.authenticator import Authenticator, AuthPolicy, parse_realm
from mirror.upstream.auth.challenge import Challenge, parse_challenges
from mirror.upstream.auth.credentials import KEEP_SECONDS, PAUSE_SECONDS, Credential, Credentials
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.egress import Egress, Outgoing
from tests.unit.proxy.doubles import MemoryCache, SettableClock
from tests.unit.recorder import Recorder
from tests.unit.upstream.answers import answer
from tests.unit.upstream.settable_source import SettableSource
from tests.unit.virtual_time import run

HUB = URL("https://registry-1.docker.io")
HANGZHOU = URL("https://registry.cn-hangzhou.aliyuncs.com")
OWN = URL("https://registry.example:5000")
CREDENTIAL = Credential("user", "hunter2")
ALPINE = Repository("library/alpine")


@pytest.mark.parametrize(
    ("origin", "realm", "bound"),
    [
        (OWN, "https://registry.example:5000/token", True),
        (OWN, "https://registry.example:5000", True),
        (OWN, "https://REGISTRY.example:5000/token", True),
        (OWN, "https://registry.example/token", False),
        (OWN, "https://registry.example:5001/token", False),
        (OWN, "http://registry.example:5000/token", False),
        (OWN, "https://auth.registry.example:5000/token", False),
        (OWN, "https://registry.example.evil:5000/token", False),
        (OWN, "https://evil.example/registry.example:5000", False),
        (OWN, "https://auth.docker.io/token", False),
        (OWN, "https://sso.example/token", True),
        (OWN, "https://sso.example:8443/token", False),
        (HUB, "https://auth.docker.io/token", True),
        (HUB, "https://auth.docker.io:443/token", True),
        (HUB, "http://auth.docker.io/token", False),
        (HUB, "https://auth.docker.io.evil.example/token", False),
        (HUB, "https://hub.docker.io/token", False),
        (HUB, "https://registry-1.docker.io.evil.example/token", False),
        (HUB, "https://gitlab.com/jwt/auth", False),
        (HANGZHOU, "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", True),
        (HANGZHOU, "http://dockerauth.cn-hangzhou.aliyuncs.com/auth", False),
        (HANGZHOU, "https://dockerauth.cn-hangzhou.aliyuncs.com:8443/auth", False),
        (HANGZHOU, "https://dockerauth.cn-beijing.aliyuncs.com/auth", False),
        (HANGZHOU, "https://dockerauth.cn-hangzhou.aliyuncs.com.evil.example/auth", False),
        (HANGZHOU, "https://dockerauth.bucket.oss-cn-hangzhou.aliyuncs.com/auth", False),
        (URL("http://registry.cn-hangzhou.aliyuncs.com"), "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", False),
        (URL("https://registry.cn-beijing.aliyuncs.com"), "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", False),
        (URL("https://registry.aliyuncs.com"), "https://dockerauth.aliyuncs.com/auth", False),
        (URL("https://x.registry.cn-hangzhou.aliyuncs.com"), "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", False),
        (URL("https://registry.a.b.aliyuncs.com"), "https://dockerauth.a.b.aliyuncs.com/auth", False),
        (
            URL("https://registry.cn-hangzhou.aliyuncs.com.evil.example"),
            "https://dockerauth.cn-hangzhou.aliyuncs.com.evil.example",
            False,
        ),
        (
            URL("https://registry.cn-hangzhou.aliyuncs.com.evil.example"),
            "https://dockerauth.cn-hangzhou.aliyuncs.com",
            False,
        ),
        (URL("https://registry.gitlab.com"), "https://gitlab.com/jwt/auth", True),
        (URL("https://registry-1.docker.io:443").origin(), "https://auth.docker.io/token", True),
    ],
)
def test_where_credentials_may_go(origin: URL, realm: str, bound: bool) -> None:
    policy = AuthPolicy("x", origin, realms=frozenset({URL("https://sso.example")}))
    assert policy.binds(URL(realm)) is bound


def test_a_credential_does_not_show_its_password() -> None:
    assert "hunter2" not in repr(CREDENTIAL)
    assert "hunter2" not in repr(Credential("", "hunter2", is_identity_token=True))


@given(st.text(max_size=10).filter(lambda text: ":" not in text and text.isprintable()), st.text(max_size=10))
def test_basic_is_user_and_password(username: str, password: str) -> None:
    try:
        pair = f"{username}:{password}".encode()
    except UnicodeEncodeError:
        return
    scheme, _, encoded = str(Credential(username, password).basic).partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded) == pair


@pytest.mark.parametrize(
    ("text", "realm"),
    [
        ("https://auth.example/token", URL("https://auth.example/token")),
        ("http://127.0.0.1:5000/token?x=1", URL("http://127.0.0.1:5000/token?x=1")),
        ("", None),
        ("auth.example/token", None),
        ("//auth.example/token", None),
        ("ftp://auth.example/token", None),
        ("https://", None),
        ("https://me@auth.example/token", None),
        ("https://me:hunter2@auth.example/token", None),
        ("https://auth.example:port/", None),
        ("https://auth.example:99999/", None),
        ("https://[::1/", None),
        ("https://[]@", None),
        (f"https://{'a' * 254}/token", None),
        ("https://auth example/token", None),
        ("https://auth.example\x1b[31m/token", None),
        ("https://auth.example%0d%0a/token", None),
        ("https://[fe80::1%25eth0]/token", URL("https://[fe80::1%25eth0]/token")),
    ],
)
def test_where_a_token_service_can_be(text: str, realm: URL | None) -> None:
    assert parse_realm(text) == realm


@pytest.mark.parametrize("host", ["xn--a", "xn--", "xn--999999999.x"])
def test_a_name_that_cannot_be_decoded_is_no_bug_of_ours(host: str) -> None:
    realm = parse_realm(f"https://{host}/token")
    assert realm is None or realm.raw_host == host


@given(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "https://", "http://", "//", "https:"]),
        st.text(max_size=20) | st.text("xn-a09.:@[]%/\udcff\u00e9", max_size=25),
        st.sampled_from(["", "/token", ":80/", "?x"]),
    )
)
def test_no_realm_does_worse_than_be_none(text: str) -> None:
    realm = parse_realm(text)
    if realm is not None:
        assert realm.scheme in ("http", "https")
        assert realm.user is None


class GivingTokens(Egress):
    """An egress that leads to token services which give a token to everybody, while there is no trouble."""

    def __init__(self) -> None:
        super().__init__("test", lambda: "mirror-test")
        self.outgoing: list[Outgoing] = []
        self.trouble: Exception | int | None = None
        self.silent = False
        self.refused: set[str | None] = set()

    async def open(self, outgoing: Outgoing) -> aiohttp.ClientResponse:
        self.outgoing.append(outgoing)
        if self.silent:
            await asyncio.get_running_loop().create_future()
        if outgoing.authorization in self.refused:
            return answer(401)
        if isinstance(self.trouble, Exception):
            raise self.trouble
        return answer(self.trouble or 200, b'{"token": "token-%d"}' % len(self.outgoing))


class Gate:
    """An authenticator and what it sends."""

    def __init__(self, origin: URL = OWN, credential: Credential | None = None) -> None:
        self.observer = Recorder()
        self.egress = GivingTokens()
        self.source = SettableSource(credential)
        self.clock, self.clock_of_tokens = SettableClock(), SettableClock()
        tasks = Tasks(self.observer)
        tokens = TokenServices(self.egress, MemoryCache(self.clock_of_tokens), tasks, self.observer)
        credentials = Credentials("x", self.source, tasks, self.observer, self.clock) if credential else None
        self.authenticator = Authenticator(AuthPolicy("x", origin, credentials), tokens, self.observer)

    async def respond(self, *headers: str, refused: str | None = None) -> str | None:
        return await self.authenticator.respond(parse_challenges(headers), ALPINE, refused)


OWN_REALM = 'Bearer realm="https://registry.example:5000/token",service="s"'
FOREIGN_REALM = 'Bearer realm="https://evil.example/token",service="s"'


async def test_a_bound_token_service_gets_the_credentials() -> None:
    gate = Gate(credential=CREDENTIAL)
    assert await gate.respond(OWN_REALM) == "Bearer token-1"
    [outgoing] = gate.egress.outgoing
    assert outgoing.authorization == CREDENTIAL.basic
    assert outgoing.url.query["account"] == "user"
    assert outgoing.url.query["scope"] == "repository:library/alpine:pull"


async def test_a_foreign_token_service_is_asked_without_them() -> None:
    gate = Gate(credential=CREDENTIAL)
    assert await gate.respond(FOREIGN_REALM) == "Bearer token-1"
    [outgoing] = gate.egress.outgoing
    assert outgoing.authorization is None
    assert "account" not in outgoing.url.query
    assert gate.observer.of(CredentialsWithheld) == [CredentialsWithheld("x", "https://evil.example")]


async def test_bearer_comes_before_basic() -> None:
    gate = Gate(credential=CREDENTIAL)
    assert await gate.respond(f'Basic realm="x", {OWN_REALM}') == "Bearer token-1"


@pytest.mark.parametrize(
    "realm",
    ["", "/token", "ftp://registry.example/", "https://me@registry.example/", "http://registry.example:5000/token"],
)
async def test_a_bearer_that_leads_nowhere_gives_way_to_basic(realm: str) -> None:
    offered = f'Bearer realm="{realm}", Basic realm="x"'
    assert await Gate(credential=CREDENTIAL).respond(offered) == CREDENTIAL.basic
    with pytest.raises(UpstreamInvalid):
        await Gate().respond(offered)


@pytest.mark.parametrize("realm", ["nowhere", "http://registry.example:5000/token"])
async def test_a_bearer_that_leads_nowhere_gives_way_to_another(realm: str) -> None:
    assert await Gate().respond(f'Bearer realm="{realm}"', OWN_REALM) == "Bearer token-1"


async def test_of_two_bearers_the_first_is_answered() -> None:
    gate = Gate()
    await gate.respond(OWN_REALM, FOREIGN_REALM)
    assert [outgoing.url.host for outgoing in gate.egress.outgoing] == ["registry.example"]


async def test_of_many_bearers_one_is_asked() -> None:
    gate = Gate(credential=CREDENTIAL)
    await gate.respond(*(f'Bearer realm="https://auth{number}.example/token"' for number in range(10_000)))
    assert [outgoing.url.host for outgoing in gate.egress.outgoing] == ["auth0.example"]


TROUBLES = [401, 403, 400, 404, 429, 500, UpstreamUnreachable("no connection"), UpstreamTimeout("silent")]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_without_a_token_the_registry_is_asked_all_the_same(trouble: Exception | int) -> None:
    gate = Gate()
    await gate.respond(OWN_REALM)
    gate.egress.trouble = trouble
    other = Repository("other/app")
    assert await gate.authenticator.authorization(other) is None
    # And what it demanded is forgotten: it may demand something else by now, or nothing.
    asked = len(gate.egress.outgoing)
    assert await gate.authenticator.authorization(other) is None
    assert len(gate.egress.outgoing) == asked
    gate.egress.trouble = None
    if trouble == 429:
        gate.clock_of_tokens.now += HOLD_SECONDS
    renewed = await gate.respond(OWN_REALM)
    assert renewed is not None
    assert await gate.authenticator.authorization(ALPINE) == renewed


async def test_a_token_service_that_nobody_waits_for_is_not_asked_again_unasked() -> None:
    # The registry may name another one by now, and would never be asked.
    gate = Gate()
    await gate.respond(OWN_REALM)
    gate.egress.silent = True
    with pytest.raises(UpstreamTimeout):
        async with answer_within(0.01):
            await gate.authenticator.authorization(Repository("other/app"))
    async with answer_within():
        assert await gate.authenticator.authorization(Repository("other/app")) is None


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_demand_that_cannot_be_met_is_said_so(trouble: Exception | int) -> None:
    gate = Gate()
    gate.egress.trouble = trouble
    with pytest.raises((Denied, UpstreamUnavailable)):
        await gate.respond(OWN_REALM)
    assert await gate.authenticator.authorization(ALPINE) is None
    assert len(gate.egress.outgoing) == 1


async def test_basic_needs_a_credential() -> None:
    assert await Gate().respond('Basic realm="x"') is None
    assert await Gate(credential=CREDENTIAL).respond('Basic realm="x"') == CREDENTIAL.basic


NEW = Credential("user", "renewed")


async def test_a_password_that_is_refused_is_looked_up_again() -> None:
    gate = Gate(credential=CREDENTIAL)
    assert await gate.respond('Basic realm="x"') == CREDENTIAL.basic
    gate.source.credential = NEW
    # Not in the same breath: whoever is refused again and again would have it looked up again and again.
    assert await gate.respond('Basic realm="x"', refused=CREDENTIAL.basic) is None
    gate.clock.now += PAUSE_SECONDS
    assert await gate.respond('Basic realm="x"', refused=CREDENTIAL.basic) == NEW.basic
    assert gate.source.reads == 2


async def test_a_password_that_a_token_service_refuses_is_looked_up_again_once() -> None:
    gate = Gate(credential=CREDENTIAL)
    gate.egress.refused = {CREDENTIAL.basic}
    with pytest.raises(Denied):
        await gate.respond(OWN_REALM)
    gate.source.credential = NEW
    gate.clock.now += PAUSE_SECONDS
    assert await gate.respond(OWN_REALM) == "Bearer token-3"
    gate.egress.refused.add(NEW.basic)
    gate.clock.now += PAUSE_SECONDS
    with pytest.raises(Denied):
        await gate.respond(OWN_REALM, refused="Bearer token-3")
    assert [outgoing.authorization for outgoing in gate.egress.outgoing] == [CREDENTIAL.basic] * 2 + [NEW.basic] * 2


async def test_a_token_of_a_credential_that_was_replaced_is_not_sent_any_more() -> None:
    # T9.
    gate = Gate(credential=CREDENTIAL)
    assert await gate.respond(OWN_REALM) == "Bearer token-1"
    gate.source.credential = NEW
    gate.clock.now += KEEP_SECONDS
    assert await gate.authenticator.authorization(ALPINE) == "Bearer token-2"
    assert [outgoing.authorization for outgoing in gate.egress.outgoing] == [CREDENTIAL.basic, NEW.basic]


async def test_credentials_that_cannot_be_had_are_never_left_out() -> None:
    gate = Gate(credential=CREDENTIAL)
    gate.source.credential = None
    for offered in (OWN_REALM, 'Basic realm="x"'):
        with pytest.raises(CredentialsUnavailable):
            await gate.respond(offered)
    assert not gate.egress.outgoing
    # Where they must not go, they are not needed.
    assert await gate.respond(FOREIGN_REALM) == "Bearer token-1"


IDENTITY = Credential("", "identity-token", is_identity_token=True)


async def test_an_identity_token_is_exchanged_at_a_bound_token_service() -> None:
    gate = Gate(credential=IDENTITY)
    assert await gate.respond(OWN_REALM) == "Bearer token-1"
    [outgoing] = gate.egress.outgoing
    assert (outgoing.method, outgoing.authorization) == ("POST", None)
    assert outgoing.form is not None
    assert outgoing.form["refresh_token"] == IDENTITY.password


async def test_a_foreign_token_service_gets_no_identity_token() -> None:
    gate = Gate(credential=IDENTITY)
    assert await gate.respond(FOREIGN_REALM) == "Bearer token-1"
    [outgoing] = gate.egress.outgoing
    assert (outgoing.method, outgoing.form, outgoing.authorization) == ("GET", None, None)


async def test_an_identity_token_is_no_password() -> None:
    assert await Gate(credential=IDENTITY).respond('Basic realm="x"') is None


async def test_the_same_answer_is_not_given_twice() -> None:
    gate = Gate(credential=CREDENTIAL)
    assert await gate.respond('Basic realm="x"', refused=CREDENTIAL.basic) is None


async def test_a_refused_token_leads_to_another() -> None:
    gate = Gate()
    assert await gate.respond(OWN_REALM) == "Bearer token-1"
    assert await gate.respond(OWN_REALM, refused="Bearer token-1") == "Bearer token-2"


async def test_what_was_demanded_once_is_sent_unasked() -> None:
    gate = Gate()
    assert await gate.authenticator.authorization(ALPINE) is None
    await gate.respond(f'{OWN_REALM},scope="repository:library/alpine:pull"')
    assert await gate.authenticator.authorization(ALPINE) == "Bearer token-1"
    assert await gate.authenticator.authorization(Repository("other/app")) == "Bearer token-2"
    assert gate.egress.outgoing[1].url.query["scope"] == "repository:other/app:pull"


@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_a_password_that_ran_out_is_told_by_a_403(status: int) -> None:
    gate = Gate(credential=CREDENTIAL)
    await gate.respond('Basic realm="x"')
    gate.source.credential = Credential("user", "hunter3")
    gate.clock.now += PAUSE_SECONDS
    another = await gate.authenticator.renewed(ALPINE, CREDENTIAL.basic or "", status)
    assert another == (gate.source.credential.basic if status == 403 else None)


async def test_a_403_for_the_password_that_there_is_remains_one() -> None:
    gate = Gate(credential=CREDENTIAL)
    await gate.respond('Basic realm="x"')
    assert await gate.authenticator.renewed(ALPINE, CREDENTIAL.basic or "", 403) is None


@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_a_token_that_ran_out_is_told_by_a_400(status: int) -> None:
    gate = Gate()
    token = await gate.respond(OWN_REALM)
    assert token is not None
    another = await gate.authenticator.renewed(ALPINE, token, status)
    assert another == ("Bearer token-2" if status == 400 else None)


@pytest.mark.parametrize(
    ("offered", "asked"),
    [
        ("repository:library/alpine:pull,push", "repository:library/alpine:pull"),
        ("repository:library/alpine:*", "repository:library/alpine:pull"),
        ("repository:registry.example:5000/app:pull,delete", "repository:registry.example:5000/app:pull"),
        ("repository", "repository"),
        ("registry:catalog:*", "registry:catalog:*"),
    ],
)
async def test_of_a_repository_no_more_than_the_right_to_pull_is_asked(offered: str, asked: str) -> None:
    gate = Gate()
    await gate.respond(f'{OWN_REALM},scope="{offered}"')
    assert [outgoing.url.query["scope"] for outgoing in gate.egress.outgoing] == [asked]


async def test_a_scope_that_is_not_a_repository_is_passed_on() -> None:
    gate = Gate()
    await gate.respond(f'{OWN_REALM},scope="aws"')
    await gate.authenticator.authorization(Repository("other/app"))
    assert [outgoing.url.query["scope"] for outgoing in gate.egress.outgoing] == ["aws"]


@pytest.mark.parametrize(
    "realm",
    [
        "",
        "quay.io",
        "/token",
        "ftp://registry.example/token",
        "http://registry.example:5000/token",
        "https://user:password@registry.example:5000/token",
        "https://:password@registry.example:5000/token",
        "https://registry.example:port/token",
        "https:///token",
        "https://[::1/token",
    ],
)
async def test_a_realm_that_is_no_place_for_a_secret(realm: str) -> None:
    gate = Gate(credential=CREDENTIAL)
    with pytest.raises(UpstreamInvalid):
        await gate.respond(f'Bearer realm="{realm}"')
    assert not gate.egress.outgoing


texts = st.text(max_size=20) | st.text("htps:/@[]%.\udcff\u00e9 ", max_size=20)


@given(texts, texts, texts, st.sampled_from(["", "https://", "https://registry.example:5000/"]))
def test_no_challenge_does_worse_than_be_refused(realm: str, service: str, scope: str, start: str) -> None:
    gate = Gate(credential=CREDENTIAL)
    challenge = Challenge("bearer", start + realm, service, scope)
    try:
        run(gate.authenticator.respond([challenge], ALPINE, None))
    except MirrorError:
        return
    for outgoing in gate.egress.outgoing:
        assert outgoing.authorization is None or outgoing.url.origin() == OWN
