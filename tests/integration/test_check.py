"""`mirror check` against registries that are well, and against each way in which they are not."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from click.testing import CliRunner

from mirror.cli import commands
from mirror.cli.check.report import document, lines
from mirror.cli.check.targets import all_endpoints, endpoints_of
from mirror.composition.checking import AT_A_TIME, Target, check
from mirror.config import Config
from mirror.upstream.probing.findings import Findings
from tests.fakes import content, faults
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.proxy import FakeProxy
from tests.fakes.pull_limit import PullLimit
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.command import configuration, run, write
from tests.integration.tls import server_context, trusting
from tests.integration.waiting import until

IMAGE = "library/alpine"
GOOD = {"dns": "-", "connect": "ok", "tls": "-", "challenge": "-", "token": "-", "head": "ok"}
SECRET = "hunter2 9f2c"


@pytest.fixture(autouse=True)
def _image(registry: FakeRegistry) -> None:
    """The image that is asked for."""
    registry.add_image(IMAGE, "latest", content.image())


def config(registry: FakeRegistry | str, **upstream: Any) -> Config:
    """A configuration whose Docker Hub is the registry; keywords are fields of the upstream."""
    url = registry if isinstance(registry, str) else registry.url
    return Config(upstreams={"docker.io": {"endpoints": url, "private_network": True, **upstream}})  # type: ignore[dict-item]


async def checked(given: Config, *images: str, seconds: float = 20.0) -> Findings:
    """Try the one endpoint there is."""
    [found] = await check(given, endpoints_of(given, images) if images else all_endpoints(given), seconds)
    return found


def steps(found: Findings) -> dict[str, str]:
    return {str(step): str(state) for step, state in found.steps.items()}


def told(given: Config, found: Findings) -> str:
    """Return what is printed below the table, which never holds the secret."""
    table, _, rest = "\n".join(lines(given, [found], datetime.now(UTC))).partition("\n\n")
    assert SECRET not in table + rest + json.dumps(document(given, [found]))
    return rest


async def failure(given: Config, *images: str, seconds: float = 20.0) -> tuple[str, str, str]:
    """Return the step that failed, the reason, and the line about it."""
    found = await checked(given, *images, seconds=seconds)
    assert found.fault is not None
    [line, _, verdict] = told(given, found).splitlines()
    assert line.startswith("docker.io: ")
    assert verdict == "1 endpoint: 1 failed"
    assert steps(found)[found.fault.step] == "failed"
    return str(found.fault.step), str(found.fault.reason), line


# Well. -------------------------------------------------------------------------------------------------------


async def test_an_open_registry(registry: FakeRegistry) -> None:
    found = await checked(config(registry), "alpine")
    assert steps(found) == GOOD
    assert found.fault is None
    assert told(config(registry), found) == "1 endpoint: all good"


async def test_a_registry_with_tokens_is_asked_as_serving_asks_it(
    registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    found = await checked(config(registry), "alpine")
    assert steps(found) == {**GOOD, "challenge": "ok", "token": "ok"}
    assert journal.paths("tokens") == ["GET /token"]
    assert journal.paths("registry") == ["GET /v2/", f"HEAD /v2/{IMAGE}/manifests/latest"]
    [token] = token_service.issued.values()
    assert token.scopes == {f"repository:{IMAGE}:pull"}


async def test_without_an_image_a_registry_is_asked_for_itself_once_more(
    registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    found = await checked(config(registry))
    assert steps(found) == {**GOOD, "challenge": "ok", "token": "ok"}
    assert journal.paths("registry") == ["GET /v2/", "GET /v2/"]
    [token] = token_service.issued.values()
    assert token.scopes == frozenset()


async def test_without_an_image_an_open_registry_is_asked_once(registry: FakeRegistry, journal: Journal) -> None:
    assert steps(await checked(config(registry))) == {**GOOD, "head": "-"}
    assert journal.paths() == ["GET /v2/"]


async def test_content_that_is_guarded_where_the_registry_is_not(
    registry: FakeRegistry, token_service: FakeTokenService
) -> None:
    registry.auth = TokenAuth(token_service, ping_needs_token=False)
    assert steps(await checked(config(registry), "alpine")) == {**GOOD, "challenge": "ok", "token": "ok"}


async def test_a_password(registry: FakeRegistry, password: dict[str, str]) -> None:
    registry.auth = BasicAuth("ci", SECRET)
    given = config(registry, credentials=password, serve_private="everyone")
    found = await checked(given, "alpine")
    assert steps(found) == {**GOOD, "challenge": "ok"}
    assert "  ci  " in "\n".join(lines(given, [found], datetime.now(UTC)))
    assert steps(await checked(given)) == {**GOOD, "challenge": "ok"}


async def test_a_manifest_behind_a_redirect(registry: FakeRegistry, cdn: FakeCDN) -> None:
    registry.redirect_manifests(cdn)
    assert steps(await checked(config(registry), "alpine")) == GOOD


async def test_what_a_redirect_leads_to_does_not_speak_for_the_registry(
    registry: FakeRegistry, cdn: FakeCDN, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.redirect_manifests(cdn)
    cdn.always("*", faults.header("Date", "Thu, 01 Jan 2026 00:00:00 GMT"))
    assert (await checked(config(registry), "alpine")).clock_ahead is None
    challenge = faults.header("WWW-Authenticate", f'Bearer realm="{token_service.realm}",service="x"')
    cdn.heal()
    cdn.always("*", faults.both(faults.status(401), challenge))
    step, reason, line = await failure(config(registry), "alpine")
    assert (step, reason) == ("head", "broken")
    assert f"{cdn.url} answered 401" in line
    assert journal.paths("tokens") == []


async def test_a_registry_that_knows_no_head_is_well(registry: FakeRegistry) -> None:
    registry.always(f"/v2/{IMAGE}/manifests/*", faults.status(405), method="HEAD")
    assert steps(await checked(config(registry), "alpine")) == GOOD


async def test_a_digest(registry: FakeRegistry) -> None:
    image = content.image(seed="by digest")
    registry.add_image("owner/app", None, image)
    found = await checked(config(registry), f"owner/app@{image.digest}")
    assert steps(found) == GOOD
    assert str(found.sample) == f"owner/app@{image.digest}"


async def test_what_else_is_worth_knowing(registry: FakeRegistry) -> None:
    registry.headers = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "7;w=21600"}
    late = format_datetime(datetime.now(UTC) - timedelta(hours=1))
    registry.always("*", faults.header("Date", late))
    given = config(registry)
    found = await checked(given, "alpine")
    [clock, rate, _, verdict] = told(given, found).splitlines()
    assert "its clock is 36" in clock
    assert "s behind this machine's" in clock
    assert "its rate limit leaves 7 of 100 pulls in 21600 s, which are for what is not cached" in rate
    assert verdict == "1 endpoint: all good"
    [entry] = document(given, [found])["endpoints"]
    assert entry["rate_limit"] == {"limit": 100, "remaining": 7, "window_seconds": 21600}
    assert abs(entry["clock_ahead_seconds"] - 3600) < 60


async def test_each_account_is_tried_and_shows_what_is_left_to_it(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    registry.auth = TokenAuth(token_service)
    registry.pull_limit = PullLimit(100)
    registry.pull_limit.spent["ci"] = 13
    token_service.accounts = {"ci": SECRET, "cd": SECRET}
    (tmp_path / "good").write_text(SECRET)
    (tmp_path / "bad").write_text("something else")
    credentials = [
        {"username": "ci", "password_file": str(tmp_path / "good")},
        {"username": "cd", "password_file": str(tmp_path / "bad")},
    ]
    given = config(registry, credentials=credentials, realms=[token_service.url])
    found = await check(given, endpoints_of(given, ["alpine"]), 20.0)
    table = [line.split() for line in lines(given, found, datetime.now(UTC))]
    assert " ".join(table[-1]) == "1 endpoint with 2 accounts: 1 failed"
    assert table[1][-3:] == ["ci", "87/100", "library/alpine:latest"]
    assert table[2][-3:] == ["cd", "-", "library/alpine:latest"]
    assert [entry["credentials"] for entry in document(given, found)["endpoints"]] == ["ci", "cd"]
    assert [str(one.fault.reason) if one.fault else None for one in found] == [None, "denied"]


# Not reached. ------------------------------------------------------------------------------------------------


async def test_an_endpoint_behind_a_proxy(registry: FakeRegistry) -> None:
    async with FakeProxy({"registry.test": registry.port}) as proxy:
        found = await checked(config("http://registry.test", proxy=proxy.url), "alpine")
    # Names are the proxy's to resolve.
    assert steps(found) == GOOD
    assert proxy.targets[0] == "GET http://registry.test/v2/"


async def test_a_proxy_whose_name_does_not_resolve() -> None:
    for endpoint in ("http://registry.test", "https://registry.test"):
        step, reason, line = await failure(config(endpoint, proxy="http://nohost.invalid:3128"))
        assert (step, reason) == ("connect", "proxy")
        assert "its proxy's name, nohost.invalid, does not resolve; look at upstreams.docker.io.proxy" in line


async def test_an_answer_that_may_be_the_proxy_s_own() -> None:
    async with FakeProxy(status=503) as proxy:
        step, reason, line = await failure(config("http://registry.test", proxy=proxy.url))
    assert (step, reason) == ("challenge", "broken")
    assert "http://registry.test answered 503, or its proxy did; " in line


async def test_a_proxy_in_trouble(registry: FakeRegistry) -> None:
    async with FakeProxy(login=("me", "secret")) as proxy:
        for endpoint in ("http://registry.test", "https://registry.test"):
            step, reason, line = await failure(config(endpoint, proxy=proxy.url))
            assert (step, reason) == ("connect", "proxy")
            assert "its proxy answered 407; look at upstreams.docker.io.proxy" in line
    step, reason, line = await failure(config(registry, proxy="http://127.0.0.1:1"))
    assert (step, reason) == ("connect", "proxy")
    assert "its proxy: connection refused" in line
    step, reason, line = await failure(config(registry, proxy="http://127.0.0.1:1", private_network=False))
    assert (step, reason) == ("connect", "address")


async def test_connection_refused(registry: FakeRegistry) -> None:
    await registry.stop()
    step, reason, line = await failure(config(registry), "alpine")
    assert (step, reason) == ("connect", "refused")
    assert line == (
        f"docker.io: {registry.url} cannot be reached: connection refused; nothing listens there: the service is down,"
        " or its port is wrong"
    )


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(uvloop.Loop, "getaddrinfo", refuse)
    step, reason, line = await failure(config("https://registry.test"))
    assert (step, reason) == ("dns", "name")
    assert line == (
        "docker.io: https://registry.test cannot be reached: its name does not resolve; is it spelled right, and does"
        " this machine's DNS work?"
    )


async def test_a_resolver_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(uvloop.Loop, "getaddrinfo", hang)
    assert (await failure(config("https://registry.test"), seconds=0.2))[:2] == ("challenge", "timeout")


async def test_a_private_address(registry: FakeRegistry, journal: Journal) -> None:
    step, reason, line = await failure(config(registry, private_network=False))
    assert (step, reason) == ("connect", "address")
    assert line.endswith("say upstreams.docker.io.private_network: true")
    assert journal.paths() == []


async def test_a_hanging_registry_ends_in_time(registry: FakeRegistry) -> None:
    registry.hang()
    step, reason, line = await failure(config(registry), "alpine", seconds=0.2)
    assert (step, reason) == ("challenge", "timeout")
    assert f"{registry.url} gave no answer within 0.2 s; it hangs, or DNS does" in line


async def test_a_registry_that_is_silent_for_as_long_as_serving_waits(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.upstream.egress.SILENCE_SECONDS", 0.2)
    registry.hang()
    step, reason, line = await failure(config(registry))
    assert (step, reason) == ("challenge", "silent")
    assert line.endswith("did not answer in time; it hangs or is overloaded: try again later, or ask its owner")


async def test_a_certificate_that_nobody_has_signed(journal: Journal, tmp_path: Path) -> None:
    async with FakeRegistry(journal, name="secure", tls=server_context(tmp_path)) as secure:
        found = await checked(config(secure))
        step, reason, line = await failure(config(secure))
    assert steps(found) == {**GOOD, "tls": "failed", "head": "-"}
    assert (step, reason) == ("tls", "untrusted")
    assert "nobody this machine trusts has signed its certificate" in line


async def test_plain_http_where_tls_is_expected() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        step, reason, line = await failure(config(f"https://127.0.0.1:{port}"))
    assert (step, reason) == ("tls", "tls")
    assert "it may speak plain http there" in line


async def test_a_connection_that_is_never_made(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.upstream.egress.CONNECT_SECONDS", 0.2)
    step, reason, line = await failure(config(registry.url.replace("http:", "https:")))
    assert (step, reason) == ("connect", "no-connection")
    assert "the service is down or hangs" in line


async def test_a_registry_that_hangs_up(registry: FakeRegistry) -> None:
    registry.always("/v2/", faults.dropped)
    assert (await failure(config(registry)))[:2] == ("challenge", "cut")


# Not a registry, or one that is in trouble. ---------------------------------------------------------------------


async def test_something_else_listens_there(registry: FakeRegistry) -> None:
    registry.always("/v2/", faults.status(404))
    step, reason, line = await failure(config(registry))
    assert (step, reason) == ("challenge", "no-registry")
    assert line == f"docker.io: {registry.url} answered 404; no registry is there: is the address right?"


PAGE = faults.answer_with(200, b"<!doctype html>", "text/html; charset=utf-8")


async def test_a_page_for_people_is_no_registry(registry: FakeRegistry, cdn: FakeCDN) -> None:
    registry.always("/v2/*", PAGE)
    step, reason, line = await failure(config(registry), "alpine")
    assert (step, reason) == ("challenge", "no-registry")
    assert line.endswith("answered with a page for people; no registry is there: is the address right?")
    registry.heal()
    # A portal sends who has to log in somewhere else.
    registry.always("/v2/*", faults.both(faults.status(302), faults.header("Location", f"{cdn.url}/login")))
    cdn.always("*", PAGE)
    step, reason, line = await failure(config(registry), "alpine")
    assert (step, reason) == ("challenge", "no-registry")
    assert f"{cdn.url} answered with a page for people" in line


async def test_a_page_for_people_is_no_manifest(registry: FakeRegistry) -> None:
    registry.always(f"/v2/{IMAGE}/*", PAGE)
    assert (await failure(config(registry), "alpine"))[:2] == ("head", "nonsense")


async def test_something_that_speaks_no_http(registry: FakeRegistry) -> None:
    registry.always("/v2/", faults.raw(b"220 mail.example ESMTP\r\n"))
    assert (await failure(config(registry)))[:2] == ("challenge", "nonsense")


@pytest.mark.parametrize(("status", "reason"), [(500, "broken"), (503, "broken"), (429, "throttled"), (403, "denied")])
async def test_a_registry_in_trouble(registry: FakeRegistry, status: int, reason: str) -> None:
    registry.always("/v2/", faults.status(status))
    assert (await failure(config(registry)))[:2] == ("challenge", reason)
    registry.heal()
    registry.always(f"/v2/{IMAGE}/*", faults.status(status))
    assert (await failure(config(registry), "alpine"))[:2] == ("head", reason)


async def test_an_image_it_does_not_have(registry: FakeRegistry) -> None:
    registry.absent("/v2/library/none/*")
    step, reason, line = await failure(config(registry), "none")
    assert (step, reason) == ("head", "unknown")
    assert f"{registry.url} does not have library/none:latest; nothing is wrong with the way there" in line


# Authorization. ------------------------------------------------------------------------------------------------


@pytest.fixture
def password(tmp_path: Path) -> dict[str, str]:
    """Credentials."""
    (tmp_path / "password").write_text(SECRET)
    return {"username": "ci", "password_file": str(tmp_path / "password")}


@pytest.mark.parametrize("challenge", ["Negotiate", 'Bearer service="x"', "nonsense", 'Bearer realm="ftp://x"'])
async def test_a_challenge_that_nobody_can_answer(registry: FakeRegistry, challenge: str) -> None:
    registry.auth = BasicAuth("ci", SECRET, challenge=challenge)
    step, reason, line = await failure(config(registry))
    assert (step, reason) == ("challenge", "no-challenge")
    assert "demands authorization and does not say how" in line


async def test_a_password_that_nobody_has_given(registry: FakeRegistry) -> None:
    registry.auth = BasicAuth("ci", SECRET)
    step, reason, line = await failure(config(registry))
    assert (step, reason) == ("challenge", "credentials-needed")
    assert line.endswith("give it upstreams.docker.io.credentials")


async def test_a_password_that_is_wrong(registry: FakeRegistry, password: dict[str, str]) -> None:
    registry.auth = BasicAuth("ci", "another")
    for images in ((), ("alpine",)):
        step, reason, line = await failure(config(registry, credentials=password), *images)
        assert (step, reason) == ("head", "denied")
        assert "look at upstreams.docker.io.credentials" in line


async def test_a_token_service_that_is_down(registry: FakeRegistry, token_service: FakeTokenService) -> None:
    registry.auth = TokenAuth(token_service)
    await token_service.stop()
    found = await checked(config(registry), "alpine")
    assert steps(found) == {**GOOD, "challenge": "ok", "token": "failed", "head": "-"}
    step, reason, line = await failure(config(registry), "alpine")
    assert (step, reason) == ("token", "refused")
    assert f"{token_service.url} cannot be reached: connection refused" in line


async def test_a_token_service_that_hangs(registry: FakeRegistry, token_service: FakeTokenService) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.hang()
    assert (await failure(config(registry), "alpine", seconds=0.3))[:2] == ("token", "timeout")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [(503, b"", "broken"), (429, b"", "throttled"), (200, b"<html>", "nonsense"), (401, b"", "denied")],
)
async def test_a_token_service_in_trouble(
    registry: FakeRegistry, token_service: FakeTokenService, status: int, body: bytes, reason: str
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.answer(status, body)
    step, found, line = await failure(config(registry), "alpine")
    assert (step, found) == ("token", reason)
    assert "token service" in line


async def test_credentials_that_a_token_service_may_not_see(
    registry: FakeRegistry, token_service: FakeTokenService, password: dict[str, str], journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    given = config(registry, credentials=password)
    found = await checked(given, "alpine")
    assert found.fault is None
    assert found.withheld_from == token_service.url
    assert "ci (withheld)" in "\n".join(lines(given, [found], datetime.now(UTC)))
    assert f"{token_service.url} did not see the credentials" in told(given, found)
    assert not any(entry.header("Authorization") for entry in journal.select(host="tokens"))
    token_service.require_credentials = True
    _, reason, line = await failure(given, "alpine")
    assert reason == "denied"
    assert f"withheld from {token_service.url}: if it belongs to this registry, name it in" in line


async def test_credentials_that_a_token_service_sees(
    registry: FakeRegistry, token_service: FakeTokenService, password: dict[str, str]
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": SECRET}
    token_service.require_credentials = True
    given = config(registry, credentials=password, realms=token_service.url, serve_private="everyone")
    found = await checked(given, "alpine")
    assert (found.fault, found.withheld_from) == (None, None)
    assert told(given, found) == "1 endpoint: all good"
    token_service.accounts = {"ci": "another"}
    _, reason, line = await failure(given, "alpine")
    assert reason == "denied"
    assert "look at upstreams.docker.io.credentials" in line


async def test_an_image_that_only_the_credentials_can_read_is_served_to_nobody(
    registry: FakeRegistry, password: dict[str, str]
) -> None:
    registry.auth = BasicAuth("ci", SECRET)
    step, reason, line = await failure(config(registry, credentials=password), "alpine")
    assert (step, reason) == ("head", "not-public")
    assert f"{registry.url} has {IMAGE}:latest for the credentials, and not for everybody" in line
    assert "upstreams.docker.io.serve_private is nobody" in line
    # Without an image, nothing is asked for that anybody could be kept from.
    assert (await checked(config(registry, credentials=password))).fault is None


async def test_an_image_that_a_token_service_opens_for_the_credentials_only_is_served_to_nobody(
    registry: FakeRegistry, token_service: FakeTokenService, password: dict[str, str]
) -> None:
    registry.auth = TokenAuth(token_service)
    token_service.accounts = {"ci": SECRET}
    given = config(registry, credentials=password, realms=token_service.url)
    assert (await checked(given, "alpine")).fault is None
    token_service.require_credentials = True
    assert (await failure(given, "alpine"))[:2] == ("head", "not-public")


async def test_a_registry_that_cannot_tell_what_anybody_may_read(
    registry: FakeRegistry, password: dict[str, str]
) -> None:
    # The credentials have got the manifest; then it breaks.
    registry.fault(f"/v2/{IMAGE}/manifests/*", faults.healthy, faults.status(500))
    step, reason, line = await failure(config(registry, credentials=password), "alpine")
    assert (step, reason) == ("head", "broken")
    assert "without credentials" in line


async def test_credentials_that_cannot_be_had(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth = BasicAuth("ci", SECRET)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {}}))
    given = config(registry, credentials={"docker_config": str(tmp_path / "config.json")})
    step, reason, line = await failure(given, "alpine")
    assert (step, reason) == ("token", "no-credentials")
    assert f"docker_config has no credentials for {registry.host}" in line
    assert line.endswith("look at upstreams.docker.io.credentials, and at where they are kept")
    [row] = lines(given, [await checked(given)], datetime.now(UTC))[1:2]
    assert "docker_config" in row


# Several. --------------------------------------------------------------------------------------------------------


async def test_each_endpoint_has_its_row(registry: FakeRegistry, other_registry: FakeRegistry) -> None:
    await other_registry.stop()
    given = Config(
        upstreams={
            "docker.io": {"endpoints": [registry.url, other_registry.url], "private_network": True},  # type: ignore[dict-item]
            "ghcr.io": {"endpoints": registry.url, "private_network": True},  # type: ignore[dict-item]
        }
    )
    found = await check(given, all_endpoints(given), 20)
    assert [(one.upstream, str(one.endpoint), one.fault is None) for one in found] == [
        ("docker.io", registry.url, True),
        ("docker.io", other_registry.url, False),
        ("ghcr.io", registry.url, True),
    ]
    assert lines(given, found, datetime.now(UTC))[-1] == "3 endpoints: 1 failed"
    only = endpoints_of(given, ["ghcr.io/library/alpine"])
    assert [target.upstream for target in only] == ["ghcr.io"]


async def test_no_more_than_a_few_are_tried_at_once(registry: FakeRegistry, other_registry: FakeRegistry) -> None:
    given = config(registry)
    registry.hang()
    targets = [Target("docker.io", given.upstreams["docker.io"].endpoints[0], None)] * (2 * AT_A_TIME + 1)
    trying = asyncio.create_task(check(given, targets, 20))
    await until(lambda: registry.accepted >= AT_A_TIME, "as many as may be are tried")
    assert (await checked(config(other_registry))).fault is None
    assert registry.accepted == AT_A_TIME
    registry.resume()
    found = await trying
    assert len(found) == len(targets)
    assert all(one.fault is None for one in found)


async def test_a_check_that_is_cancelled_leaves_nothing(registry: FakeRegistry, journal: Journal) -> None:
    given = config(registry)
    registry.hang()
    trying = asyncio.create_task(check(given, all_endpoints(given), 20))
    await journal.wait_for(path="/v2/")
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    registry.resume()


# The command. ----------------------------------------------------------------------------------------------------


async def test_the_command(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path, journal: Journal
) -> None:
    file = write(configuration(registry, token_service, tmp_path), tmp_path)
    good = await run("check", "alpine", "--config", file, folder=tmp_path)
    assert (good.code, good.stderr) == (0, "")
    heading, row, *_, verdict = good.stdout.splitlines()
    headings = "UPSTREAM ENDPOINT DNS CONNECT TLS CHALLENGE TOKEN HEAD TIME VIA AS LIMIT IMAGE"
    assert " ".join(heading.split()) == headings
    assert row.split()[:8] == ["docker.io", registry.url, "-", "ok", "-", "-", "-", "ok"]
    assert verdict == "1 endpoint: all good"
    await registry.stop()
    bad = await run("check", "--config", file, "--json", folder=tmp_path)
    assert (bad.code, bad.stderr) == (1, "")
    report = json.loads(bad.stdout)
    assert report["ok"] is False
    assert report["endpoints"][0]["failure"]["reason"] == "refused"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_check_that_is_interrupted(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path, journal: Journal, number: signal.Signals
) -> None:
    registry.hang()
    file = write(configuration(registry, token_service, tmp_path), tmp_path)
    command = (sys.executable, "-m", "mirror", "check", "--config", file)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=pipe, stderr=pipe)
    try:
        await journal.wait_for(path="/v2/")
        process.send_signal(number)
        stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, stdout, stderr) == (128 + number, b"", b"mirror: interrupted\n")
    registry.resume()


async def test_a_certificate_that_ends_soon_and_one_for_another_name(journal: Journal, tmp_path: Path) -> None:
    async with FakeRegistry(journal, name="secure", tls=server_context(tmp_path)) as secure:
        urls = [secure.url, secure.url.replace("127.0.0.1", "localhost")]
        upstream = {"endpoints": urls, "private_network": True}
        file = write({"upstreams": {"docker.io": upstream}}, tmp_path)
        done = await run("check", "--config", file, folder=tmp_path, environment=trusting(tmp_path))
    assert done.code == 1
    rows = [line.split()[2:5] for line in done.stdout.splitlines()[1:3]]
    assert rows == [["-", "ok", "ok"], ["ok", "ok", "failed"]]
    assert f"docker.io: {urls[0]}: its certificate ends on" in done.stdout
    assert "its certificate is for another name" in done.stdout


async def test_a_certificate_that_has_ended(journal: Journal, tmp_path: Path) -> None:
    context = server_context(tmp_path, lasts=-timedelta(days=1))
    async with FakeRegistry(journal, name="secure", tls=context) as secure:
        file = write({"upstreams": {"docker.io": {"endpoints": secure.url, "private_network": True}}}, tmp_path)
        done = await run("check", "--config", file, folder=tmp_path, environment=trusting(tmp_path))
    assert done.code == 1
    assert "TLS failed; its certificate is out of date" in done.stdout


async def test_a_bad_configuration_is_78(tmp_path: Path) -> None:
    done = await run("check", "--config", write("listen: x", tmp_path), folder=tmp_path)
    assert (done.code, done.stdout) == (78, "")
    assert done.stderr.startswith("mirror: listen: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--timeout", "5"),
        ("--timeout", "0s"),
        ("--timeout", "x"),
        ("UPPER",),
        ("alpine:",),
        ("alpine@sha256:0",),
        ("https://ghcr.io/owner/app",),
        ("",),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(commands, ["check", *arguments])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Usage: ")
    if "--timeout" in arguments:
        assert "Invalid value for --timeout: " in result.stderr


def test_a_registry_that_is_no_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(commands, ["check", "nowhere.example/app"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "mirror: nowhere.example is not among the mirror's upstreams; to mirror it, name it under upstreams\n"
    )
