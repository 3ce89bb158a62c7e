from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp
import pytest
from yarl import URL

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.digest import Digest
from mirror.oci.media_types import MAX_MANIFEST, OCI_INDEX
from mirror.oci.reference import Repository, Tag
from mirror.upstream import pages
from mirror.upstream.client import MAX_TAGS
from mirror.upstream.endpoints import FAILOVER_WITHIN
from tests.unit.upstream.answers import ASKED, answer
from tests.unit.upstream.scripted import ScriptedEndpoint, client
from tests.unit.virtual_time import in_virtual_time

ALPINE = Repository("library/alpine")
DIGEST = Digest.of(b"subject")
LIST = "/v2/library/alpine/tags/list"
URL_OF_LIST = URL(f"https://registry.example{LIST}")
Answer = Callable[[], aiohttp.ClientResponse]


def page(*tags: str, link: str | None = None, url: URL = URL_OF_LIST, status: int = 200) -> aiohttp.ClientResponse:
    """A page of tags, with this Link header."""
    body = json.dumps({"name": "library/alpine", "tags": tags}).encode()
    return answer(status, body, {} if link is None else {"Link": link}, url)


def more(query: str, path: str = LIST) -> str:
    """The Link of a page that is not the last."""
    return f'<{path}?{query}>; rel="next"'


def referrers(*digests: str, link: str | None = None, status: int = 200) -> aiohttp.ClientResponse:
    """A page of referrers."""
    manifests = [{"mediaType": "x", "digest": digest, "size": 1} for digest in digests]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    headers = {"Content-Type": OCI_INDEX} | ({} if link is None else {"Link": link})
    return answer(status, body, headers, URL(f"https://registry.example/v2/library/alpine/referrers/{DIGEST}"))


def queries(endpoint: ScriptedEndpoint) -> list[str]:
    """What the endpoint was asked for, behind the path."""
    return [request.query for request in endpoint.requests]


# The way through the pages. --------------------------------------------------------------------------------


@in_virtual_time
async def test_all_pages_are_one_list_in_order() -> None:
    endpoint = ScriptedEndpoint(page("c", "B", link=more("n=2&last=B")), page(link=more("last=x")), page("a", "c"))
    assert await client(endpoint).list_tags(ALPINE) == ("a", "B", "c")
    assert queries(endpoint) == ["n=1000", "n=2&last=B", "last=x"]
    assert {request.path for request in endpoint.requests} == {"tags/list"}


@pytest.mark.parametrize(
    ("link", "query"),
    [
        (more("n=2&last=b"), "n=2&last=b"),
        (more("last=b", f"https://registry.example{LIST}"), "last=b"),
        (more("last=b", f"https://registry.example:443{LIST}"), "last=b"),
        (more("last=b", f"//registry.example{LIST}"), "last=b"),
        (more("last=b", ""), "last=b"),
        (more("last=b", "list"), "last=b"),
        (more("last=b", "/api/docker/hub/v2/library/alpine/tags/list"), "last=b"),
        (more("next_page=gAAA%3D%3D&n=50"), "next_page=gAAA%3D%3D&n=50"),
        (more("last=a%2Fb"), "last=a%2Fb"),
    ],
)
@in_virtual_time
async def test_only_the_query_of_a_link_is_taken_as_it_stands(link: str, query: str) -> None:
    endpoint = ScriptedEndpoint(page("a", link=link), page("b"))
    assert await client(endpoint).list_tags(ALPINE) == ("a", "b")
    assert queries(endpoint) == ["n=1000", query]


@in_virtual_time
async def test_a_list_that_was_redirected_goes_on_through_the_registry() -> None:
    moved = URL(f"https://other.example{LIST}")
    endpoint = ScriptedEndpoint(page("a", link=more("last=a"), url=moved), page("b", url=moved))
    assert await client(endpoint).list_tags(ALPINE) == ("a", "b")


@pytest.mark.parametrize(
    "link",
    [
        more("last=b", f"https://evil.example{LIST}"),
        more("last=b", f"http://registry.example{LIST}"),
        more("last=b", f"https://registry.example:8443{LIST}"),
        more("last=b", f"//evil.example{LIST}"),
        more("last=b", "/v2/library/alpine/manifests/latest"),
        more("last=b", "/tags/lister"),
        more("last=b", "file:///v2/library/alpine/tags/list"),
        more("last=b", "//[]@"),
        more("last=b", "http://[::1"),
        more("last=b c"),
        more("last=\u00e9"),
        "/v2/library/alpine/tags/list?last=b",
        more("last=b") + ", " + more("last=c"),
        more("n=1000"),
        more(""),
    ],
)
@in_virtual_time
async def test_a_link_to_somewhere_else_is_not_followed_and_no_end(link: str) -> None:
    endpoint = ScriptedEndpoint(page("a", link=link), page("a", link=link), page("a", link=link))
    with pytest.raises(errors.UpstreamInvalid):
        await client(endpoint).list_tags(ALPINE)
    assert set(queries(endpoint)) <= {"n=1000", ""}


@in_virtual_time
async def test_a_circle_of_pages_is_left() -> None:
    circle = [page("a", link=more(f"last={last}")) for last in "bcb"]
    endpoint = ScriptedEndpoint(*circle)
    with pytest.raises(errors.UpstreamInvalid):
        await client(endpoint).list_tags(ALPINE)
    assert queries(endpoint) == ["n=1000", "last=b", "last=c"]


@in_virtual_time
async def test_there_are_only_so_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_PAGES", 3)
    endpoint = ScriptedEndpoint(*[page("a", link=more(f"last={number}")) for number in range(9)])
    with pytest.raises(errors.UpstreamInvalid):
        await client(endpoint).list_tags(ALPINE)
    assert len(endpoint.requests) == 3


@in_virtual_time
async def test_a_hundred_thousand_tags_are_a_list() -> None:
    tags = [f"v{number:06}-some-longer-suffix" for number in range(100_000)]
    assert len(await client(ScriptedEndpoint(page(*tags))).list_tags(ALPINE)) == 100_000


@in_virtual_time
async def test_more_than_the_mirror_takes_is_an_error_and_no_part() -> None:
    half = page(*[f"{'x' * 100}-{number}" for number in range(50_000)], link=more("last=x"))
    rest = page(*[f"{'y' * 100}-{number}" for number in range(50_000)])
    with pytest.raises(errors.UpstreamInvalid, match=f"more than {MAX_TAGS} bytes"):
        await client(ScriptedEndpoint(half, rest)).list_tags(ALPINE)


# Trouble. --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, errors.NameUnknown),
        (401, errors.Denied),
        (403, errors.Denied),
        (429, errors.UpstreamThrottled),
        (500, errors.UpstreamFailed),
        (503, errors.UpstreamFailed),
        (400, errors.UpstreamInvalid),
        (406, errors.UpstreamInvalid),
        (204, errors.UpstreamInvalid),
    ],
)
@in_virtual_time
async def test_what_the_first_page_may_say_instead(status: int, error: type[MirrorError]) -> None:
    with pytest.raises(error):
        await client(ScriptedEndpoint(page(status=status))).list_tags(ALPINE)


@pytest.mark.parametrize(
    ("answer_of_upstream", "error"),
    [
        (lambda: page(status=404), errors.UpstreamInvalid),
        (lambda: page(status=401), errors.UpstreamInvalid),
        (lambda: page(status=403), errors.UpstreamInvalid),
        (lambda: page(status=429), errors.UpstreamThrottled),
        (lambda: page(status=502), errors.UpstreamFailed),
        (lambda: answer(200, b"<html>"), errors.UpstreamInvalid),
        (lambda: answer(200, b'{"errors": []}'), errors.UpstreamInvalid),
    ],
)
@in_virtual_time
async def test_trouble_in_the_middle_is_never_the_end(answer_of_upstream: Answer, error: type[MirrorError]) -> None:
    endpoint = ScriptedEndpoint(page("a", link=more("last=a")), answer_of_upstream())
    with pytest.raises(error):
        await client(endpoint).list_tags(ALPINE)


@in_virtual_time
async def test_silence_on_a_page_ends_in_time() -> None:
    endpoint = ScriptedEndpoint(page("a", link=more("last=a")), page("b"), seconds=3600)
    with pytest.raises(errors.UpstreamTimeout):
        await client(endpoint).list_tags(ALPINE)
    assert asyncio.get_running_loop().time() == pytest.approx(20)


@in_virtual_time
async def test_the_next_endpoint_begins_from_the_first_page() -> None:
    first = ScriptedEndpoint(page("a", link=more("cursor=mine")), errors.UpstreamFailed("502"))
    second = ScriptedEndpoint(page("a", link=more("last=a")), page("b"))
    assert await client(first, second).list_tags(ALPINE) == ("a", "b")
    assert queries(second) == ["n=1000", "last=a"]


@in_virtual_time
async def test_a_silent_endpoint_gives_way_to_the_next() -> None:
    silent, good = ScriptedEndpoint(page("a"), seconds=3600), ScriptedEndpoint(page("b"))
    assert await client(silent, good).list_tags(ALPINE) == ("b",)
    assert asyncio.get_running_loop().time() == pytest.approx(FAILOVER_WITHIN)


@in_virtual_time
async def test_an_accelerators_no_is_not_the_registrys() -> None:
    first, second = ScriptedEndpoint(page(status=404)), ScriptedEndpoint(page("a"))
    assert await client(first, second).list_tags(ALPINE) == ("a",)
    with pytest.raises(errors.NameUnknown):
        await client(ScriptedEndpoint(page(status=502)), ScriptedEndpoint(page(status=404))).list_tags(ALPINE)


# Referrers. ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_referrers_are_asked_for_unfiltered_and_keep_their_order() -> None:
    path = f"/v2/library/alpine/referrers/{DIGEST}"
    endpoint = ScriptedEndpoint(referrers("b", "a", link=more("last=x", path)), referrers("c"))
    found = await client(endpoint).list_referrers(ALPINE, DIGEST)
    assert [json.loads(entry)["digest"] for entry in found] == ["b", "a", "c"]
    assert queries(endpoint) == ["", "last=x"]
    assert {request.accept for request in endpoint.requests} == {OCI_INDEX}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, errors.ReferrersUnknown),
        (406, errors.ReferrersUnknown),
        (400, errors.UpstreamInvalid),
        (403, errors.Denied),
        (429, errors.UpstreamThrottled),
        (502, errors.UpstreamFailed),
    ],
)
@in_virtual_time
async def test_only_some_statuses_say_that_there_is_no_such_list(status: int, error: type[MirrorError]) -> None:
    with pytest.raises(MirrorError) as raised:
        await client(ScriptedEndpoint(referrers(status=status))).list_referrers(ALPINE, DIGEST)
    assert type(raised.value) is error


@in_virtual_time
async def test_a_404_behind_the_first_page_does_not_say_so() -> None:
    path = f"/v2/library/alpine/referrers/{DIGEST}"
    endpoint = ScriptedEndpoint(referrers("a", link=more("last=a", path)), referrers(status=404))
    with pytest.raises(errors.UpstreamInvalid):
        await client(endpoint).list_referrers(ALPINE, DIGEST)


@in_virtual_time
async def test_too_many_referrers_are_an_error_and_no_part() -> None:
    many = referrers(*[f"{'x' * 1000}{number}" for number in range(MAX_MANIFEST // 1000)])
    with pytest.raises(errors.UpstreamInvalid, match="bytes"):
        await client(ScriptedEndpoint(many)).list_referrers(ALPINE, DIGEST)


# Whether there is a tag at all. ----------------------------------------------------------------------------


@in_virtual_time
async def test_one_tag_is_found_and_no_more_are_asked_for() -> None:
    endpoint = ScriptedEndpoint(page("3.20", link=more("last=3.20")))
    assert await client(endpoint).find_tag(ALPINE) == Tag("3.20")
    assert queries(endpoint) == ["n=1"]


@in_virtual_time
async def test_that_there_is_none_is_found_too() -> None:
    assert await client(ScriptedEndpoint(page())).find_tag(ALPINE) is None
    with pytest.raises(errors.NameUnknown):
        await client(ScriptedEndpoint(page(status=404))).find_tag(ALPINE)
    with pytest.raises(errors.UpstreamInvalid):
        await client(ScriptedEndpoint(answer(200, b"<html>", {"Content-Type": "text/html"}, ASKED))).find_tag(ALPINE)
