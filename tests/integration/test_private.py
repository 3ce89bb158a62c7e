"""Private content: with `serve_private: nobody`, credentials are for rate limits and open nothing to clients."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.store.rows import Rows
from mirror.store.threads import Threads
from tests.fakes import content, faults
from tests.fakes.answer import JSON, Answer, error
from tests.fakes.auth import TokenAuth
from tests.fakes.credentials import bearer_token
from tests.fakes.faults import hold, status
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService, Verdict
from tests.integration.asking import error_code
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.steering import done, listed
from tests.integration.waiting import until_metric

PUBLIC = content.image(layers=2)
SECRET = content.image(layers=1, seed="secret")
LAYER = SECRET.layers[0]
TAG = "/v2/team/app/manifests/1.0"
DIGEST = f"/v2/team/app/manifests/{SECRET.digest}"
BLOB = f"/v2/team/app/blobs/{LAYER.digest}"
TAGS = "/v2/team/app/tags/list"
REFERRERS = f"/v2/team/app/referrers/{SECRET.digest}"
ALPINE = "/v2/library/alpine/manifests/3.20"
EVERYTHING = (TAG, DIGEST, BLOB, TAGS, REFERRERS)
PASSWORD = "canary-5ecret"


@dataclass(frozen=True, slots=True)
class Site:
    """A registry with a public repository, a private one, and an account that reads both."""

    registry: FakeRegistry
    tokens: FakeTokenService
    journal: Journal
    start: StartMirror
    folder: Path

    def mirror(
        self, *, credentials: bool = True, freshness: dict[str, str] | None = None, **fields: Any
    ) -> AbstractAsyncContextManager[RunningMirror]:
        """Start a mirror whose upstream has the account, if wanted, and these fields."""
        upstream = {**docker_io(self.registry, self.tokens), **fields}
        if credentials:
            upstream["credentials"] = {"username": "ci", "password_file": str(self.folder / "password")}
        return self.start(upstreams={"docker.io": upstream}, freshness=freshness or {})

    async def fill(self, **fields: Any) -> None:
        """Have the private image on disk, with its grants, as a mirror that served it to everyone left it."""
        async with self.mirror(serve_private="everyone", **fields) as mirror:
            for path in EVERYTHING:
                assert (await mirror.get(path))[0].status == 200
            await until_metric(mirror, "mirror_fills_in_flight", 0)
        self.journal.clear()

    def anonymous_questions(self) -> list[str]:
        """What the registry was asked with a token that nobody's account stands behind."""
        anonymous = {token for token, issued in self.tokens.issued.items() if issued.account is None}
        return [
            f"{entry.method} {entry.path}"
            for entry in self.journal.select(host="registry", authorization="bearer")
            if bearer_token(entry.header("Authorization")) in anonymous
        ]


@pytest.fixture
async def site(
    registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    start_mirror: StartMirror,
    tmp_path: Path,
) -> Site:
    registry.auth = TokenAuth(token_service)
    registry.add_image("library/alpine", "3.20", PUBLIC)
    registry.add_image("team/app", "1.0", SECRET)
    registry.add_image("team/app", "1.0-internal", SECRET)
    token_service.accounts = {"ci": PASSWORD}
    token_service.restrict("team/*", "ci")
    (tmp_path / "password").write_text(PASSWORD)
    return Site(registry, token_service, journal, start_mirror, tmp_path)


async def answers(mirror: RunningMirror, *paths: str) -> set[int]:
    """The statuses of everything that could be tried to get at the private image, which must get none of it."""
    seen: set[int] = set()
    for path in paths or EVERYTHING:
        tries: list[dict[str, Any]] = [
            {"method": "HEAD"},
            {},
            {"headers": {"Range": "bytes=5-"}},
            {"headers": {"Range": "bytes=0-9,20-29"}},
            {"headers": {"If-None-Match": f'"{SECRET.digest}", "{LAYER.digest}"'}},
            {"headers": {"Authorization": "Bearer anything"}},
        ]
        for options in tries:
            response, body = await mirror.get(path, **options)
            seen.add(response.status)
            assert LAYER.data[:50] not in body
            assert SECRET.manifest.data[:50] not in body
            assert b"1.0-internal" not in body
            assert not {"Docker-Content-Digest", "ETag"} & set(response.headers)
    return seen


# Public and private. ---------------------------------------------------------------------------------------


async def test_what_is_public_is_had_with_credentials_after_one_question_without(site: Site) -> None:
    async with site.mirror() as mirror:
        assert (await mirror.get(ALPINE))[1] == PUBLIC.manifest.data
        for blob in PUBLIC.blobs:
            assert (await mirror.get(f"/v2/library/alpine/blobs/{blob.digest}"))[1] == blob.data
        assert site.anonymous_questions() == [f"HEAD {ALPINE}"]
        assert await mirror.metric('mirror_visibility_checks_total{outcome="public",upstream="docker.io"}') == 1
    assert [entry.authorization for entry in site.journal.select(host="tokens")] == ["none", "basic"]
    fetched = site.journal.select("GET", "/v2/*", host="registry", status=200)
    tokens = {bearer_token(entry.header("Authorization")) or "" for entry in fetched}
    assert {site.tokens.issued[token].account for token in tokens} == {"ci"}


async def test_what_is_private_is_denied_without_using_the_credentials(site: Site) -> None:
    async with site.mirror() as mirror:
        response, body = await mirror.get(TAG)
        assert (response.status, error_code(body)) == (403, "DENIED")
        assert b"serve_private" in body
        assert response.headers["Cache-Status"] == "mirror; fwd=miss; detail=not-public"
        assert await answers(mirror) == {403}
        response, _ = await mirror.get(BLOB)
        assert response.headers["Cache-Status"] == "mirror; hit; detail=not-public"
        denied = await mirror.metric('mirror_requests_total{kind="blob",outcome="denied",upstream="docker.io"}')
        assert denied == 7
    assert site.journal.count(path="/v2/team/app/tags/*") == site.journal.count(path="/v2/team/app/referrers/*") == 0
    assert site.anonymous_questions() == [f"HEAD {TAG}"]
    assert site.journal.count(authorization="basic") == 0


async def test_a_token_service_that_refuses_anybody_is_a_no(site: Site) -> None:
    site.tokens.deny_status = 403
    async with site.mirror() as mirror:
        assert await answers(mirror) == {403}
        assert (await mirror.get(ALPINE))[0].status == 200


async def test_every_way_to_ask_first_is_denied(site: Site) -> None:
    async with site.mirror(auth_ttl="0s") as mirror:
        assert await answers(mirror) == {403}
    assert site.journal.count(authorization="basic") == 0


async def test_the_lists_of_what_is_public_are_for_everybody(site: Site) -> None:
    async with site.mirror() as mirror:
        response, body = await mirror.get("/v2/library/alpine/tags/list")
        assert (response.status, json.loads(body)["tags"]) == (200, ["3.20"])
        assert (await mirror.get(f"/v2/library/alpine/referrers/{PUBLIC.digest}"))[0].status == 200
    assert site.anonymous_questions() == ["GET /v2/library/alpine/tags/list", f"HEAD {ALPINE}"]


async def test_a_list_without_tags_makes_nothing_public(site: Site) -> None:
    await site.fill()
    site.registry.auth = Listless(site.tokens)
    async with site.mirror() as mirror:
        assert await answers(mirror, TAGS) == {502}


async def test_any_number_of_clients_cost_one_question(site: Site) -> None:
    gate = Gate()
    site.registry.fault("/v2/library/alpine/*", hold(gate))
    paths = [ALPINE, *(f"/v2/library/alpine/blobs/{blob.digest}" for blob in PUBLIC.blobs)] * 5
    async with site.mirror() as mirror:
        clients = [asyncio.create_task(mirror.get(path)) for path in paths]
        await gate.reached()
        gate.open()
        assert {response.status for response, _ in await asyncio.gather(*clients)} == {200}
    assert len(site.anonymous_questions()) == 1


async def test_without_credentials_nobody_is_asked_twice(site: Site) -> None:
    async with site.mirror(credentials=False) as mirror:
        assert (await mirror.get(ALPINE))[0].status == 200
        assert await answers(mirror) == {403}
    assert site.journal.count("HEAD", ALPINE, 200) == 1


async def test_a_disk_that_takes_no_records_opens_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: Rows, changes: Mapping[str, str | None]) -> bool:
        return not changes

    monkeypatch.setattr(Rows, "write", full)
    async with site.mirror() as mirror:
        assert await answers(mirror) == {403}
        assert (await mirror.get(ALPINE))[0].status == 200


async def test_what_is_in_memory_is_answered_from_there_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: object) -> None:
        raise AssertionError("a thread was asked")

    paths = [f"/v2/library/alpine/{path}" for path in ("manifests/3.20", "tags/list", f"referrers/{PUBLIC.digest}")]
    paths.append(f"/v2/library/alpine/manifests/{PUBLIC.digest}")
    async with site.mirror() as mirror:
        before = [(await mirror.get(path))[1] for path in paths]
        with monkeypatch.context() as patch:
            patch.setattr(Threads, "run", run)
            assert [(await mirror.get(path))[1] for path in paths] == before


# What the cache holds. -------------------------------------------------------------------------------------


async def test_what_everyone_could_read_is_nobodys_once_the_policy_says_so(site: Site) -> None:
    await site.fill()
    async with site.mirror() as mirror:
        assert await answers(mirror) == {403}
    assert site.journal.count(authorization="basic") == 0


async def test_it_is_nobodys_either_when_the_registry_cannot_be_asked(site: Site) -> None:
    await site.fill()
    await site.registry.stop()
    async with site.mirror() as mirror:
        assert await answers(mirror) == {502}
        assert b"whether this repository is public cannot be told" in (await mirror.get(TAG))[1]


@pytest.mark.parametrize("lost", [[], ["records"], ["records", "index", "run"]])
async def test_taking_the_credentials_away_opens_nothing(site: Site, lost: list[str]) -> None:
    await site.fill()
    for folder in lost:
        shutil.rmtree(site.folder / "cache" / folder)
    async with site.mirror(credentials=False) as mirror:
        assert await answers(mirror) == {403}
        assert (await mirror.get(ALPINE))[0].status == 200


async def test_everyone_is_still_served_by_a_mirror_that_says_so(site: Site) -> None:
    await site.fill()
    async with site.mirror(serve_private="everyone") as mirror:
        for path, data in ((TAG, SECRET.manifest.data), (DIGEST, SECRET.manifest.data), (BLOB, LAYER.data)):
            assert (await mirror.get(path))[1] == data
    assert not site.journal.entries


async def test_a_public_repository_opens_no_bytes_of_a_private_one(site: Site) -> None:
    await site.fill()
    # A manifest can name whatever its author likes: here, a layer of the private image.
    site.registry.put_manifest("library/alpine", SECRET.manifest, "lure")
    site.registry.absent(f"/v2/library/alpine/blobs/{LAYER.digest}")
    async with site.mirror() as mirror:
        assert (await mirror.get("/v2/library/alpine/manifests/lure"))[1] == SECRET.manifest.data
        response, body = await mirror.get(f"/v2/library/alpine/blobs/{LAYER.digest}")
        assert (response.status, error_code(body)) == (404, "BLOB_UNKNOWN")
        assert await answers(mirror) == {403}


# Changes upstream. -----------------------------------------------------------------------------------------


async def test_a_repository_that_becomes_private_is_withdrawn_and_stays_so_in_an_outage(site: Site) -> None:
    site.tokens.open_up("team/*")
    async with site.mirror(auth_ttl="0s") as mirror:
        assert (await mirror.get(TAG))[1] == SECRET.manifest.data
        assert (await mirror.get(BLOB))[1] == LAYER.data
        site.tokens.restrict("team/*", "ci")
        site.registry.revoke_tokens()
        assert await answers(mirror) == {403}
        await site.registry.stop()
        assert await answers(mirror, TAG, BLOB) == {502}
    async with site.mirror(auth_ttl="0s") as mirror:
        assert await answers(mirror, TAG, BLOB) == {502}


async def test_public_is_believed_for_auth_ttl_and_after_a_restart(site: Site) -> None:
    for _ in range(2):
        async with site.mirror(auth_ttl="1h") as mirror:
            assert (await mirror.get(ALPINE))[0].status == 200
    assert len(site.anonymous_questions()) == 1


OUTAGES = {"500": status(500), "429": status(429), "nonsense": faults.raw(b"220 smtp.example.com ESMTP\r\n")}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
async def test_what_was_public_is_served_in_an_outage_after_a_restart_too(site: Site, outage: Fault) -> None:
    blob = f"/v2/library/alpine/blobs/{PUBLIC.layers[0].digest}"
    async with site.mirror(auth_ttl="0s") as mirror:
        assert (await mirror.get(ALPINE))[0].status == 200
        assert (await mirror.get(blob))[0].status == 200
        site.registry.always("*", outage)
        assert (await mirror.get(ALPINE))[1] == PUBLIC.manifest.data
        assert (await mirror.get(blob))[1] == PUBLIC.layers[0].data
        assert await mirror.metric('mirror_visibility_checks_total{outcome="untold",upstream="docker.io"}') == 1
    async with site.mirror(auth_ttl="0s") as mirror:
        assert (await mirror.get(ALPINE))[1] == PUBLIC.manifest.data
        assert (await mirror.get(blob))[1] == PUBLIC.layers[0].data
    async with site.mirror(auth_ttl="0s", freshness={"stale_if_error": "0s"}) as mirror:
        assert (await mirror.get(blob))[0].status in {502, 503}


@pytest.mark.parametrize(("answered", "expected"), [(429, 503), (500, 502), (418, 502)])
async def test_what_cannot_be_told_is_not_served(site: Site, answered: int, expected: int) -> None:
    site.registry.always("*", status(answered, 17) if answered == 429 else status(answered))
    async with site.mirror() as mirror:
        response, body = await mirror.get(ALPINE)
        assert (response.status, error_code(body)) == (expected, "UNAVAILABLE")
        assert response.headers.get("Retry-After") == ("17" if answered == 429 else None)
        # In an outage, another reference of the repository is not asked about in the same breath.
        count = len(site.journal.entries)
        assert (await mirror.get("/v2/library/alpine/manifests/other"))[0].status == expected
        assert (len(site.journal.entries) == count) is (answered == 429)
    assert site.journal.count(authorization="basic") == 0


@pytest.mark.usefixtures("impatient")
async def test_a_registry_that_hangs_is_given_up(site: Site) -> None:
    site.registry.hang()
    async with site.mirror() as mirror:
        assert (await mirror.get(ALPINE))[0].status == 504


# What is missing. ------------------------------------------------------------------------------------------


async def test_a_tag_that_nobody_has_says_nothing_about_its_repository(site: Site) -> None:
    missing = "/v2/library/alpine/manifests/missing"
    site.registry.absent(missing)
    async with site.mirror(auth_ttl="0s") as mirror:
        assert (await mirror.get(ALPINE))[0].status == 200
        for _ in range(2):
            response, body = await mirror.get(missing)
            assert (response.status, error_code(body)) == (404, "MANIFEST_UNKNOWN")
        assert set(site.anonymous_questions()) == {f"HEAD {ALPINE}"}
        await site.registry.stop()
        assert (await mirror.get(ALPINE))[0].status == 200


class Stumbling(TokenAuth):
    """Answers a reference that it cannot handle before it looks at who asks."""

    answered = 500

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        if request.path.endswith("/stumble"):
            return error(self.answered, "UNKNOWN", "cannot handle this")
        return super().refusal(request, repository)


@pytest.mark.parametrize("answered", [400, 503])
async def test_nobody_can_make_an_outage_of_a_question_of_their_choice(site: Site, answered: int) -> None:
    site.registry.auth = stumbling = Stumbling(site.tokens)
    stumbling.answered = answered
    site.tokens.open_up("team/*")
    async with site.mirror(auth_ttl="0s") as mirror:
        for path in EVERYTHING:
            assert (await mirror.get(path))[0].status == 200
        site.tokens.restrict("team/*", "ci")
        site.registry.revoke_tokens()
        assert await answers(mirror, "/v2/team/app/manifests/stumble") == {403, 502}
        assert await answers(mirror, BLOB) == {403}


async def test_nobody_can_keep_others_from_what_is_public_by_a_question_of_their_choice(site: Site) -> None:
    site.registry.auth = Stumbling(site.tokens)
    async with site.mirror() as mirror:
        assert (await mirror.get("/v2/library/alpine/manifests/stumble"))[0].status == 502
        assert (await mirror.get(ALPINE))[0].status == 200


class Hiding(TokenAuth):
    """Answers 404 where a token does not open the repository, as if there were none."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        scope = f"repository:{repository}:pull"
        if self.tokens.judge(bearer_token(request.header("Authorization")), scope) is Verdict.INSUFFICIENT:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return super().refusal(request, repository)


class Listless(TokenAuth):
    """Lists no tags where it should refuse to list them."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        refused = super().refusal(request, repository)
        is_list = request.path.endswith("/tags/list") and request.header("Authorization")
        return Answer(200, (("Content-Type", JSON),), b'{"tags": null}') if refused and is_list else refused


class Portal(TokenAuth):
    """Answers a page to log in on, by a 200, where a token does not open the repository."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        scope = f"repository:{repository}:pull"
        if self.tokens.judge(bearer_token(request.header("Authorization")), scope) is Verdict.INSUFFICIENT:
            return faults.html(Answer(200))
        return super().refusal(request, repository)


@pytest.mark.usefixtures("undaunted")
async def test_a_page_to_log_in_on_makes_nothing_public(site: Site) -> None:
    await site.fill()
    site.registry.auth = Portal(site.tokens)
    async with site.mirror() as mirror:
        assert await answers(mirror) == {502}


async def test_a_repository_that_hides_is_as_good_as_missing(site: Site) -> None:
    site.tokens.open_up("team/*")
    site.registry.auth = Hiding(site.tokens)
    async with site.mirror(auth_ttl="0s") as mirror:
        assert (await mirror.get(TAG))[1] == SECRET.manifest.data
        assert (await mirror.get(BLOB))[1] == LAYER.data
        site.tokens.restrict("team/*", "ci")
        site.registry.revoke_tokens()
        assert await answers(mirror) == {404}
        hidden = (await mirror.get(TAG))[0]
        # Nor can it be told from a repository that does not exist.
        site.registry.absent("/v2/team/none/*")
        none = [await mirror.get("/v2/team/none/manifests/1.0") for _ in range(2)][1]
        assert none[0].headers["Cache-Status"] == hidden.headers["Cache-Status"]
        await site.registry.stop()
        assert await answers(mirror, f"{TAG}-other", BLOB.replace(LAYER.digest, PUBLIC.layers[0].digest)) == {502}


# What operators are told. ----------------------------------------------------------------------------------


async def test_show_tells_of_what_is_cached_and_not_public_that_clients_do_not_get_it(site: Site) -> None:
    await site.fill()
    async with site.mirror() as mirror:
        shown = await done(mirror, "GET", "images/team/app:1.0")
        assert (shown["state"], shown["reason"].partition(":")[0]) == ("miss", "not known to be public yet")
        assert site.journal.entries == []
        assert (await mirror.get(TAG))[0].status == 403
        shown = await done(mirror, "GET", "images/team/app:1.0")
        assert (shown["state"], shown["reason"]) == ("denied", "not public: clients get 403 (serve_private: nobody)")
        assert {image["state"] for image in (await listed(mirror)).values()} == {"denied"}
