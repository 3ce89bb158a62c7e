"""How long tags and lists are believed: rules, what is served while upstream is asked, and who is asked how often."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import content, faults
from tests.fakes.auth import TokenAuth
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import check_cache_status
from tests.integration.command import run
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.steering import done
from tests.integration.waiting import until

OLD = content.image(layers=1, seed="old")
NEW = content.image(layers=1, seed="new")
TAG = "/v2/owner/app/manifests/1.0"
LIST = "/v2/owner/app/tags/list"
REFERRERS = f"/v2/owner/app/referrers/{OLD.digest}"
SIGNATURE = content.manifest(
    {"schemaVersion": 2, "config": {}, "layers": [], "subject": {"digest": OLD.digest}}, content.OCI_MANIFEST
)
AT_ONCE = "mirror; fwd=stale; detail=revalidating"
RELAXED = {"tag_ttl": "0s", "stale_while_revalidate": "1h"}


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", OLD)
    registry.put_manifest("owner/app", SIGNATURE)


async def status_of(mirror: RunningMirror, path: str, method: str = "GET") -> str:
    """Cache-Status of an answer that must be there."""
    response, body = await mirror.get(path, method)
    assert response.status == 200, body
    check_cache_status(response.headers["Cache-Status"])
    return response.headers["Cache-Status"]


async def until_header(mirror: RunningMirror, name: str, value: str) -> aiohttp.ClientResponse:
    """Get the tag until it is answered with this header, and return that answer."""
    async with asyncio.timeout(45):
        while (response := (await mirror.get(TAG))[0]).headers[name] != value:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)
    return response


# While upstream is asked. ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TAG, LIST, REFERRERS])
async def test_what_has_aged_is_served_while_upstream_hangs(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, path: str
) -> None:
    async with start_mirror(freshness=RELAXED) as mirror:
        await status_of(mirror, path)
        journal.clear()
        gate = Gate()
        registry.always("/v2/*", faults.hold(gate))
        for method in ("GET", "HEAD", "GET"):
            response, _ = await mirror.get(path, method)
            assert (response.status, response.headers["Cache-Status"]) == (200, AT_ONCE)
            assert response.headers["Age"].isdecimal()
            assert "Warning" not in response.headers
        await gate.reached()
        assert len(journal.entries) == 1
        gate.open()


async def test_the_next_client_has_what_was_found_meanwhile(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness=RELAXED) as mirror:
        await status_of(mirror, TAG)
        registry.move_tag("owner/app", "1.0", NEW)
        assert await status_of(mirror, TAG) == AT_ONCE
        await until_header(mirror, "Docker-Content-Digest", NEW.digest)
        response, _ = await mirror.get(TAG, headers={"If-None-Match": f'"{NEW.digest}"'})
        assert (response.status, response.headers["Cache-Status"]) == (304, AT_ONCE)


async def test_an_outage_that_is_noticed_meanwhile_is_told_to_the_next(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness=RELAXED) as mirror:
        await status_of(mirror, TAG)
        registry.always("/v2/*", faults.status(429, 60))
        assert await status_of(mirror, TAG) == AT_ONCE
        answer = await until_header(mirror, "Cache-Status", "mirror; fwd=stale; detail=upstream-unavailable")
        assert answer.headers["Warning"].startswith('299 - "stale: upstream cannot be asked')


async def test_a_stop_waits_for_the_question_and_no_longer_than_for_transfers(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror(freshness=RELAXED, drain_timeout="0s") as mirror:
        await status_of(mirror, TAG)
        registry.always("/v2/*", faults.hold(Gate()))
        assert await status_of(mirror, TAG) == AT_ONCE
        await journal.wait_for(2, "HEAD", TAG)
    await until(lambda: registry.connections == 0, "the mirror has let go of upstream")


# Rules. ------------------------------------------------------------------------------------------------------


async def test_rules_decide_what_is_asked_about_and_show_tells_by_which(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, tmp_path: Path
) -> None:
    rules = [{"match": "v*.*.*", "ttl": "1d"}, {"match": "sha-*", "ttl": "immutable"}]
    tags = ("v1.2.3", "v1.2", "sha-1f2e", "latest")
    for tag in tags:
        registry.add_image("library/alpine", tag, OLD)
    async with start_mirror(freshness={"tag_ttl": "0s", "tag_rules": rules}) as mirror:
        for tag in tags * 2:
            await status_of(mirror, f"/v2/library/alpine/manifests/{tag}")
        asked = [tag for tag in tags if journal.count("HEAD", f"*/manifests/{tag}") == 2]
        assert asked == ["v1.2", "latest"]
        shown = {tag: await done(mirror, "GET", f"images/alpine:{tag}") for tag in tags}
        assert {tag: document["rule"] for tag, document in shown.items()} == {
            "v1.2.3": "v*.*.*",
            "v1.2": None,
            "sha-1f2e": "sha-*",
            "latest": None,
        }
        assert {tag: document["state"] for tag, document in shown.items()} == {
            "v1.2.3": "hit",
            "v1.2": "stale",
            "sha-1f2e": "hit",
            "latest": "stale",
        }
        server = ("--server", mirror.admin_url)
        lines = {tag: (await run("show", f"alpine:{tag}", *server, folder=tmp_path)).stdout for tag in tags}
        assert "fresh for another 23 h by the rule v*.*.*, usable in an outage for another 7 d" in lines["v1.2.3"]
        assert "fresh for ever by the rule sha-*" in lines["sha-1f2e"]
        assert "hit: a rule says that the tag never changes" in lines["sha-1f2e"]
        assert "its freshness ended " in lines["latest"]


async def test_show_tells_that_it_is_served_at_once(start_mirror: StartMirror, tmp_path: Path) -> None:
    async with start_mirror(freshness=RELAXED) as mirror:
        await status_of(mirror, TAG)
        shown = await run("show", "owner/app:1.0", "--server", mirror.admin_url, folder=tmp_path)
        assert "stale: what is cached is served at once, and upstream is asked meanwhile" in shown.stdout
        assert "by tag_ttl, served at once for another 59 min, usable in an outage" in shown.stdout


# Who is asked how often. -------------------------------------------------------------------------------------


@pytest.mark.parametrize("supports_referrers", [True, False])
async def test_a_fleet_that_looks_for_signatures_costs_a_question_each(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal, supports_referrers: bool
) -> None:
    registry.supports_referrers = supports_referrers
    fallback = f"/v2/owner/app/manifests/sha256-{NEW.digest.partition(':')[2]}"
    paths = [
        f"/v2/owner/app/referrers/{NEW.digest}",
        f"/v2/owner/app/referrers/{NEW.digest}?artifactType=application/spdx%2Bjson",
        fallback,
        f"{fallback}.sig",
        f"{fallback}.att",
        f"/v2/owner/app/manifests/{NEW.digest}",
    ]
    for path in paths:
        registry.absent(path)

    async def pull() -> list[int]:
        return [(await mirror.get(path, method))[0].status for path in paths for method in ("HEAD", "GET")]

    async with start_mirror() as mirror:
        for _ in range(3):
            answers = await asyncio.gather(*(pull() for _ in range(10)))
            assert {tuple(statuses) for statuses in answers} == {(200, 200, 200, 200, *[404] * 8)}
    assert {entry.path for entry in journal.select("HEAD")} == {fallback, f"{fallback}.sig", f"{fallback}.att"}
    assert len(journal.entries) == 5


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_is_no_answer_to_who_looks_for_signatures(
    start_mirror: StartMirror, registry: FakeRegistry, status: int
) -> None:
    fallback = f"/v2/owner/app/manifests/sha256-{OLD.digest.partition(':')[2]}"
    registry.always("/v2/*", faults.status(status))
    async with start_mirror() as mirror:
        for path in (REFERRERS, fallback, f"{fallback}.sig"):
            for _ in range(2):
                assert (await mirror.get(path))[0].status in {502, 503}


# What is trouble, and what is an answer. ---------------------------------------------------------------------

TROUBLES = {
    "429": faults.status(429, 60),
    "500": faults.status(500),
    "404": faults.status(404),
    "nonsense": faults.html,
    "no token": faults.other_body(b"{}"),
    "no answer": faults.dropped,
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_of_the_token_service_is_outlasted(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, trouble: str
) -> None:
    registry.auth = TokenAuth(token_service)
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        for path in (TAG, LIST):
            await status_of(mirror, path)
        registry.revoke_tokens()
        token_service.always("*", TROUBLES[trouble])
        for path in (TAG, LIST) * 2:
            assert await status_of(mirror, path) == "mirror; fwd=stale; detail=upstream-unavailable"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_service_that_refuses_has_answered(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, status: int
) -> None:
    registry.auth = TokenAuth(token_service)
    async with start_mirror(freshness={"tag_ttl": "0s", "keep_deleted": "30d"}) as mirror:
        await status_of(mirror, TAG)
        registry.revoke_tokens()
        token_service.always("*", faults.status(status))
        response, _ = await mirror.get(TAG)
        assert (response.status, response.headers["Cache-Status"]) == (403, "mirror; fwd=miss; detail=denied")
