"""The same pulls from every registry, and who was shown the secret meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mirror.cli.check.targets import endpoints_of
from mirror.composition.checking import check
from mirror.config import Config
from mirror.upstream.probing.findings import State, Step
from tests.dialects import distribution
from tests.dialects.conftest import StartMirror
from tests.dialects.dialect import OTHER, PLAIN_SIGNATURE, PUBLIC, SECRET, SIGNATURE, WRONG, Dialect, Referrers, shows
from tests.dialects.pulling import Client
from tests.dialects.site import Site
from tests.dialects.table import DIALECTS
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.token_service import FakeTokenService


def all_of(kinds: list[type[Dialect]]) -> pytest.MarkDecorator:
    """Run the test for each of these."""
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.title)


open_ones = [kind for kind in DIALECTS if kind.repository]
guarded_ones = [kind for kind in DIALECTS if kind.private]

SIGNATURES = {Referrers.API: [SIGNATURE.digest], Referrers.TAG: [PLAIN_SIGNATURE.digest], Referrers.NONE: []}


async def everything(client: Client, dialect: Dialect, repository: str) -> None:
    """Pull and list all there is of a repository, all at once."""
    tags, referrers, *_ = await asyncio.gather(
        client.tags(repository),
        client.referrers(repository, PUBLIC),
        client.as_docker(repository, "1.0", PUBLIC),
        client.as_podman(repository, "2.0", OTHER),
    )
    assert {"1.0", "2.0"} <= set(tags)
    assert referrers == SIGNATURES[dialect.referrers]


def check_secrecy(journal: Journal, dialect: Dialect, secret: str | None) -> None:
    """Fail unless the secret, if there is one, went where it belongs and nowhere else, and tokens to the registry."""
    check_places(journal, dialect)
    assert any(shows(entry, SECRET, WRONG) for entry in journal.entries) is (secret is not None)


def check_places(journal: Journal, dialect: Dialect) -> None:
    """Fail if a secret or a token went to where it does not belong."""
    for entry in journal.entries:
        if shows(entry, SECRET, WRONG):
            assert dialect.is_secret_for(entry), entry
        if entry.authorization == "bearer":
            assert entry.host == dialect.registry.name, entry
        elif entry.authorization != "none" or entry.body:
            assert dialect.is_secret_for(entry), entry


@all_of(open_ones)
async def test_anybody_pulls_what_is_public(dialect: Dialect, start_mirror: StartMirror, journal: Journal) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(None)) as mirror:
        client = Client(mirror, dialect.upstream)
        await everything(client, dialect, dialect.repository)
        check_secrecy(journal, dialect, None)
        journal.clear()
        await everything(client, dialect, dialect.repository)
        assert journal.paths() == []


@all_of(guarded_ones)
async def test_credentials_pull_what_is_private(dialect: Dialect, start_mirror: StartMirror, journal: Journal) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(SECRET)) as mirror:
        client = Client(mirror, dialect.upstream)
        await everything(client, dialect, dialect.private)
        check_secrecy(journal, dialect, SECRET)
        journal.clear()
        await everything(client, dialect, dialect.private)
        assert journal.paths() == []


@all_of(guarded_ones)
async def test_credentials_open_nothing_to_clients_unless_it_is_said_so(
    dialect: Dialect, start_mirror: StartMirror, journal: Journal
) -> None:
    fields = {**dialect.configured(SECRET), "serve_private": "nobody"}
    everybody_may = [name for name in (dialect.repository, dialect.private) if not dialect.is_private(name)]
    async with start_mirror(dialect.upstream, fields) as mirror:
        client = Client(mirror, dialect.upstream)
        for name in filter(None, everybody_may):
            await client.as_podman(name, "2.0", OTHER)
        if dialect.is_private(dialect.private):
            status, code, message = await client.refusal(f"{dialect.private}/manifests/2.0")
            assert (status, code, "not public" in message) == (403, "DENIED", True)
    check_places(journal, dialect)


@all_of(guarded_ones)
async def test_wrong_credentials_are_said_to_be_wrong_and_go_no_farther(
    dialect: Dialect, start_mirror: StartMirror, journal: Journal
) -> None:
    async with start_mirror(dialect.upstream, dialect.configured(WRONG)) as mirror:
        status, code, message = await Client(mirror, dialect.upstream).refusal(f"{dialect.private}/manifests/1.0")
    assert (status, code) == (403, "DENIED")
    assert f"refuses the mirror's credentials (upstreams.{dialect.upstream}.credentials)" in message or (
        "identity token" in message
    )
    check_secrecy(journal, dialect, WRONG)


@all_of(DIALECTS)
async def test_each_way_to_say_no_is_understood(dialect: Dialect, start_mirror: StartMirror, journal: Journal) -> None:
    there = dialect.repository or dialect.private
    secret = None if dialect.repository else SECRET
    async with start_mirror(dialect.upstream, dialect.configured(secret)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_podman(there, "2.0", OTHER)
        assert (await client.refusal(f"{there}/manifests/none"))[:2] == (404, "MANIFEST_UNKNOWN")
        assert (await client.refusal("no/such/manifests/1.0"))[:2] == dialect.unknown
        dialect.front.always("/v2/*", dialect.throttled())
        assert (await client.refusal(f"{there}/manifests/1.0"))[:2] == (503, "UNAVAILABLE")
        await client.as_podman(there, "2.0", OTHER)
    check_secrecy(journal, dialect, secret)


@all_of(guarded_ones)
async def test_a_token_service_or_a_bucket_that_nobody_named_sees_no_secret(
    dialect: Dialect, start_mirror: StartMirror, site: Site, journal: Journal
) -> None:
    stranger = await site.late_host("tokens.example", FakeTokenService)
    bucket = await site.late_host("bucket.example", FakeCDN)
    dialect.registry.redirect_manifests(bucket)
    async with start_mirror(dialect.upstream, dialect.configured(SECRET)) as mirror:
        client = Client(mirror, dialect.upstream)
        await client.as_podman(dialect.private, "2.0", OTHER)
        stranger.restrict(dialect.private)
        dialect.registry.auth = TokenAuth(stranger)
        assert (await client.refusal(f"{dialect.private}/manifests/1.0"))[:2] == (403, "DENIED")
    assert stranger.requests() > 0
    assert journal.count(host="bucket.example") > 0
    check_secrecy(journal, dialect, SECRET)


@all_of(DIALECTS)
async def test_a_check_finds_the_registry_well(dialect: Dialect, journal: Journal) -> None:
    there = dialect.repository or dialect.private
    secret = None if dialect.repository else SECRET
    config = Config.model_validate({"upstreams": {dialect.upstream: dialect.configured(secret)}})
    [found] = await check(config, endpoints_of(config, [f"{dialect.upstream}/{there}:1.0"]), 20.0)
    assert found.fault is None
    assert found.withheld_from is None
    assert found.steps[Step.TLS] is found.steps[Step.HEAD] is State.OK
    wants_token = dialect.tokens_from != "-"
    assert (found.steps[Step.TOKEN] is State.OK) is wants_token
    check_secrecy(journal, dialect, secret)


@pytest.mark.parametrize("kind", [distribution.Registry2], ids=lambda kind: kind.title)
@pytest.mark.parametrize("secret", [SECRET, WRONG], ids=["right", "wrong"])
async def test_the_distribution_project_s_own_registry(
    kind: type[distribution.Registry2],
    secret: str,
    registry_2: int,
    site: Site,
    start_mirror: StartMirror,
    tmp_path: Path,
) -> None:
    site.elsewhere("registry.example.net", registry_2)
    async with start_mirror(kind.upstream, kind.configured(secret, tmp_path)) as mirror:
        client = Client(mirror, kind.upstream)
        if secret == WRONG:
            assert (await client.refusal(f"{kind.private}/manifests/1.0"))[:2] == (403, "DENIED")
            return
        for _ in range(2):
            await client.as_docker(kind.private, "1.0", PUBLIC)
            await client.as_podman(kind.private, "2.0", OTHER)
            assert {"1.0", "2.0"} <= set(await client.tags(kind.private))
            assert await client.referrers(kind.private, PUBLIC) == [PLAIN_SIGNATURE.digest]
        assert (await client.refusal(f"{kind.private}/manifests/none"))[:2] == (404, "MANIFEST_UNKNOWN")
        assert (await client.refusal("no/such/manifests/1.0"))[:2] == (404, "MANIFEST_UNKNOWN")
