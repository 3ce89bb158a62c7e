"""Lists of tags: our own pages of one whole list, whatever pages upstream gives it in; outages; what is no list."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from mirror.upstream import client
from tests.fakes import content, faults
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.listing import ABSOLUTE, QUERY_ONLY, RELATIVE, Pages
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import ask, check_cache_status, error_code, refusals, refused
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.waiting import until

IMAGE = content.image(layers=1)
LIST = "/v2/owner/app/tags/list"
NO_TTL = {"tag_ttl": "0s"}
ALL = ["1.0", "2.0", "Beta", "edge", "latest"]


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    for tag in ALL:
        registry.add_image("owner/app", tag, IMAGE)
        registry.add_image("library/alpine", tag, IMAGE)


async def listed(mirror: RunningMirror, path: str = LIST) -> tuple[str, list[str], str | None]:
    """Cache-Status, tags and Link of an answer that must be a whole page."""
    response, body = await mirror.get(path)
    assert response.status == 200, body
    assert response.headers["Content-Type"] == "application/json"
    assert int(response.headers["Age"]) >= 0
    check_cache_status(response.headers["Cache-Status"])
    document = json.loads(body)
    assert set(document) == {"name", "tags"}
    return response.headers["Cache-Status"], document["tags"], response.headers.get("Link")


# Our pages. ------------------------------------------------------------------------------------------------


async def test_the_whole_list_is_fetched_once(mirror: RunningMirror, journal: Journal) -> None:
    assert await listed(mirror) == ("mirror; fwd=miss; stored", ALL, None)
    assert await listed(mirror) == ("mirror; hit", ALL, None)
    assert journal.paths() == [f"GET {LIST}"]


FIRST_PAGES = [
    f"{LIST}?n=2",
    f"{LIST}?n=2&ns=docker.io",
    "/v2/docker.io/owner/app/tags/list?n=2",
    "/v2/alpine/tags/list?n=2",
]


async def test_pages_are_ours_and_lead_back_to_the_mirror(mirror: RunningMirror, journal: Journal) -> None:
    for first in FIRST_PAGES:
        pages: list[list[str]] = []
        following: str | None = first
        while following is not None:
            _, tags, link = await listed(mirror, following)
            pages.append(tags)
            following = link and link.removeprefix("<").removesuffix('>; rel="next"')
            assert following is None or following.startswith(first.partition("?")[0])
            assert following is None or ("ns=docker.io" in following) is ("ns=docker.io" in first)
        assert pages == [ALL[:2], ALL[2:4], ALL[4:]]
    assert journal.paths() == [f"GET {LIST}", "GET /v2/library/alpine/tags/list"]


async def test_a_link_works_as_clients_resolve_it(mirror: RunningMirror) -> None:
    response, _ = await mirror.get(f"{LIST}?n=4")
    following = str(response.links["next"]["url"])
    assert following == urljoin(mirror.url, f"{LIST}?n=4&last=edge")
    async with mirror.session.get(following) as answer:
        assert (await answer.json())["tags"] == ["latest"]


QUERIES: dict[str, tuple[list[str], bool]] = {
    "?n=0": ([], False),
    "?n=5": (ALL, False),
    "?n=99999999999999": (ALL, False),
    "?last=beta": (["edge", "latest"], False),
    "?last=zzz": ([], False),
    "?n=1&last=a": (["Beta"], True),
    "?unknown=1&n=4": (ALL[:4], True),
}


async def test_what_a_query_asks_for(mirror: RunningMirror) -> None:
    answers = {query: (await listed(mirror, LIST + query))[1:] for query in QUERIES}
    assert {query: (tags, link is not None) for query, (tags, link) in answers.items()} == QUERIES


async def test_a_page_is_never_longer_than_it_may_be(mirror: RunningMirror, registry: FakeRegistry) -> None:
    tags = [f"v{number:05}" for number in range(10_001)]
    registry.fault(LIST, faults.answer_with(200, json.dumps({"tags": tags}).encode()))
    _, found, link = await listed(mirror, f"{LIST}?n=1000000")
    assert (found, link) == (tags[:-1], f'<{LIST}?n=10000&last=v09999>; rel="next"')
    assert (await listed(mirror, f"{LIST}?n=10000&last=v09999"))[1:] == (["v10000"], None)


async def test_the_name_is_the_clients(mirror: RunningMirror) -> None:
    for name in ("owner/app", "docker.io/owner/app", "alpine", "library/alpine"):
        _, body = await mirror.get(f"/v2/{name}/tags/list")
        assert json.loads(body)["name"] == name


async def test_a_head_is_a_get_without_its_body(mirror: RunningMirror, journal: Journal) -> None:
    head = await ask(mirror, f"{LIST}?n=2", "HEAD")
    get = await ask(mirror, f"{LIST}?n=2")
    assert (head.head.status, head.body) == (200, b"")
    different = {"cache-status", "date"}
    assert {name: head.head.headers[name] for name in head.head.headers.keys() - different} == {
        name: get.head.headers[name] for name in get.head.headers.keys() - different
    }
    assert head.head.headers["content-length"] == str(len(get.body))
    assert journal.paths() == [f"GET {LIST}"]


async def test_a_number_that_is_none_is_refused_before_upstream_is_asked(
    mirror: RunningMirror, journal: Journal
) -> None:
    targets = [f"{LIST}?n={number}" for number in ("", "x", "-1", "1.5", "1e9", "%201", "9" * 30)]
    assert await refusals(mirror, targets) == dict.fromkeys(targets, (400, "UNSUPPORTED"))
    assert not journal.entries


# Upstream's pages. -----------------------------------------------------------------------------------------


async def test_upstreams_pages_become_one_list(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        for link, cursor in itertools.product((RELATIVE, ABSOLUTE, QUERY_ONLY), ("last", "next_page")):
            registry.pages = Pages(limit=2, link=link, cursor=cursor)
            journal.clear()
            assert (await listed(mirror))[1:] == (ALL, None)
            asked = [entry.query for entry in journal.entries]
            pages = ["n=1000", f"n=2&{cursor}=2.0", f"n=2&{cursor}=edge"]
            assert asked == [f"{page}&ns=docker.io" for page in pages]


async def test_every_page_is_asked_for_with_the_one_token(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    registry.pages = Pages(limit=2)
    assert (await listed(mirror))[1] == ALL
    assert journal.count(path=LIST, authorization="bearer") == 3
    assert journal.count(path="/token*") == 1


@pytest.mark.usefixtures("forgetful")
async def test_a_link_to_another_host_is_not_followed(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
    tmp_path: Path,
) -> None:
    other_registry.add_image("owner/app", "evil", IMAGE)
    registry.auth = BasicAuth("ci", "secret")
    (tmp_path / "password").write_text("secret")
    credentials = {"username": "ci", "password_file": str(tmp_path / "password")}
    upstream = {**docker_io(registry, token_service), "credentials": credentials, "serve_private": "everyone"}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        for origin in (other_registry.url, f"//{other_registry.host}", f"//ci:secret@{other_registry.host}"):
            registry.fault(LIST, faults.header("Link", f'<{origin}{LIST}?last=2.0>; rel="next"'))
            assert await refused(mirror, LIST) == (502, "UNAVAILABLE")
    assert journal.count(host="other") == 0


async def test_pages_that_lead_in_a_circle_are_an_error(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.always(LIST, faults.header("Link", f'<{LIST}?last=x>; rel="next"'))
    assert await refused(mirror, LIST) == (502, "UNAVAILABLE")


async def test_a_list_that_is_too_long_is_an_error(
    mirror: RunningMirror, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_TAGS", 60)
    registry.pages = Pages(limit=2)
    assert await refused(mirror, LIST) == (502, "UNAVAILABLE")


TROUBLE: dict[str, tuple[Fault, int]] = {
    "429": (faults.status(429, 7), 503),
    "503": (faults.status(503), 502),
    "500": (faults.status(500), 502),
    "404": (faults.status(404), 502),
    "403": (faults.status(403), 502),
    "401": (faults.status(401), 502),
    "HTML": (faults.html, 502),
    "not JSON": (faults.other_body(b"{"), 502),
    "an error document": (faults.other_body(b'{"errors": []}'), 502),
    "numbers": (faults.other_body(b'{"tags": [1, 2]}'), 502),
    "cut": (faults.cut_at(10), 502),
    "short": (faults.short_body(10), 502),
    "gzip": (faults.gzip_encoded, 502),
    "a bad Link": (faults.header("Link", "nonsense"), 502),
}


def repository(registry: FakeRegistry, trouble: str) -> str:
    """The path of the list of a repository of its own."""
    name = f"owner/app{list(TROUBLE).index(trouble)}"
    for tag in ALL:
        registry.add_image(name, tag, IMAGE)
    return f"/v2/{name}/tags/list"


@pytest.mark.usefixtures("undaunted")
async def test_trouble_in_the_middle_of_pages_is_an_error_and_never_a_part(
    mirror: RunningMirror, registry: FakeRegistry
) -> None:
    registry.pages = Pages(limit=2)
    answers = {}
    for trouble, (fault, _) in TROUBLE.items():
        path = repository(registry, trouble)
        registry.fault(path, faults.healthy, fault)
        answers[trouble] = await refused(mirror, path)
    assert answers == {trouble: (status, "UNAVAILABLE") for trouble, (_, status) in TROUBLE.items()}


@pytest.mark.usefixtures("undaunted")
async def test_trouble_in_the_middle_of_pages_serves_what_is_kept(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    registry.pages = Pages(limit=2)
    answers, some = {}, ("429", "404", "HTML", "a bad Link")
    async with start_mirror(freshness=NO_TTL) as mirror:
        for trouble in some:
            path = repository(registry, trouble)
            await listed(mirror, path)
            registry.fault(path, faults.healthy, TROUBLE[trouble][0])
            answers[trouble] = await listed(mirror, path)
    assert answers == dict.fromkeys(some, ("mirror; fwd=stale; detail=upstream-unavailable", ALL, None))


@pytest.mark.usefixtures("impatient")
async def test_silence_in_the_middle_of_pages_is_an_error(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.pages = Pages(limit=2)
    registry.fault(LIST, faults.healthy, faults.delay(30))
    assert await refused(mirror, LIST) == (504, "UNAVAILABLE")


async def test_a_repository_without_tags(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.fault(LIST, faults.other_body(b'{"name": "owner/app", "tags": null}'))
    assert (await listed(mirror))[1] == []


async def test_names_that_are_no_tags_are_left_out(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.fault(LIST, faults.other_body(b'{"tags": ["b", "../x", "A", "", "a b", "a"]}'))
    assert (await listed(mirror))[1] == ["A", "a", "b"]


# Freshness and outages. ------------------------------------------------------------------------------------


async def test_a_list_that_has_aged_is_asked_for_again(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await listed(mirror)
        assert (await listed(mirror))[0] == "mirror; fwd=stale; fwd-status=200; stored"
        registry.add_image("owner/app", "new", IMAGE)
        assert await listed(mirror) == ("mirror; fwd=miss; stored", [*ALL, "new"], None)
    assert len(journal.entries) == 3


async def test_an_outage_is_outlasted_across_a_restart(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror() as mirror:
        await listed(mirror)
    await registry.stop()
    async with start_mirror() as mirror:
        assert await listed(mirror) == ("mirror; hit", ALL, None)
    async with start_mirror(freshness=NO_TTL) as mirror:
        for _ in range(2):
            response, body = await mirror.get(f"{LIST}?n=2")
            assert json.loads(body)["tags"] == ALL[:2]
            assert response.headers["Cache-Status"] == "mirror; fwd=stale; detail=upstream-unavailable"
            assert response.headers["Warning"].startswith('299 - "stale: ')
            assert "Link" in response.headers
        assert await refused(mirror, "/v2/alpine/tags/list") == (502, "UNAVAILABLE")


async def test_an_unknown_repository_is_unknown_and_remembered(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.absent("/v2/owner/nope/tags/list")
    statuses = []
    for _ in range(2):
        response, body = await mirror.get("/v2/owner/nope/tags/list")
        assert (response.status, error_code(body)) == (404, "NAME_UNKNOWN")
        statuses.append(response.headers["Cache-Status"])
    assert statuses == ["mirror; fwd=miss; fwd-status=404; detail=name-unknown", "mirror; hit; detail=name-unknown"]
    assert len(journal.entries) == 1


@pytest.mark.usefixtures("forgetful")
async def test_what_upstream_has_refused_does_not_come_back_in_an_outage(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness={**NO_TTL, "negative_ttl": "0s"}) as mirror:
        await listed(mirror)
        registry.remove_repository("owner/app")
        assert await refused(mirror, LIST) == (404, "NAME_UNKNOWN")
        await registry.stop()
        assert await refused(mirror, LIST) == (502, "UNAVAILABLE")


async def test_a_denied_list_is_denied(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.fault(LIST, faults.status(403))
    assert await refused(mirror, LIST) == (403, "DENIED")


async def test_a_stop_leaves_no_list_behind(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.always(LIST, faults.hold(Gate()))
    async with start_mirror(drain_timeout="0s") as mirror:
        asking = asyncio.create_task(mirror.get(LIST))
        await journal.wait_for(path=LIST)
    with pytest.raises(aiohttp.ClientError):
        await asking
    await until(lambda: registry.connections == 0, "the mirror has let go of upstream")


async def test_lists_are_counted_by_their_kind(mirror: RunningMirror, registry: FakeRegistry) -> None:
    zero = 'mirror_requests_total{kind="referrers",outcome="stale",upstream="docker.io"}'
    assert await mirror.metric(zero) == 0
    await listed(mirror)
    await listed(mirror)
    for outcome in ("miss", "hit"):
        series = f'mirror_requests_total{{kind="tags",outcome="{outcome}",upstream="docker.io"}}'
        assert await mirror.metric(series) == 1
    assert await mirror.metric('mirror_upstream_requests_total{kind="tags",status="200",upstream="docker.io"}') == 1
