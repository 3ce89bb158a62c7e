from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror.errors import MirrorError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from mirror.upstream.egress import MAX_HOPS, Egress, Outgoing, redirected, translated
from tests.unit.upstream.answers import answer

HERE = URL("https://registry.example:5000/v2/a/blobs/x?query=1#part")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://cdn.example/blob", "https://cdn.example/blob"),
        ("https://cdn.example", "https://cdn.example"),
        ("HTTPS://cdn.example/blob", "https://cdn.example/blob"),
        ("//cdn.example/blob", "https://cdn.example/blob"),
        ("/elsewhere", "https://registry.example:5000/elsewhere"),
        ("y", "https://registry.example:5000/v2/a/blobs/y"),
        ("../y", "https://registry.example:5000/v2/a/y"),
        ("../../../../../../y", "https://registry.example:5000/y"),
        ("?other=2", "https://registry.example:5000/v2/a/blobs/x?other=2"),
        ("https://cdn.example/blob#part", "https://cdn.example/blob"),
        ("https://cdn.example:8443/blob", "https://cdn.example:8443/blob"),
        ("https://[2001:db8::1]/blob", "https://[2001:db8::1]/blob"),
        ("https://my_bucket.cdn.example./blob", "https://my_bucket.cdn.example./blob"),
        ("https://xn--9ca.example/blob", "https://xn--9ca.example/blob"),
        ("https://cdn.example/a%2Fb?sig=%2B%3d%20&x=a+b", "https://cdn.example/a%2Fb?sig=%2B%3d%20&x=a+b"),
    ],
)
def test_where_a_redirect_leads(location: str, target: str) -> None:
    followed = redirected(HERE, location)
    assert str(followed).rstrip("/") == target
    assert followed.raw_query_string == URL(target, encoded=True).raw_query_string


@pytest.mark.parametrize(
    "location",
    [
        pytest.param("", id="empty"),
        pytest.param("http://registry.example:5000/y", id="https to http"),
        pytest.param("http://cdn.example/blob", id="https to http elsewhere"),
        pytest.param("HTTP://cdn.example/blob", id="https to HTTP"),
        pytest.param("ftp://cdn.example/blob", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("data:text/plain,x", id="data"),
        pytest.param("javascript:alert(1)", id="javascript"),
        pytest.param("gopher://cdn.example/", id="gopher"),
        pytest.param("https://user@cdn.example/blob", id="user"),
        pytest.param("https://user:password@cdn.example/blob", id="user and password"),
        pytest.param("https://:password@cdn.example/blob", id="password alone"),
        pytest.param("//user:password@cdn.example/blob", id="user without scheme"),
        pytest.param("https://", id="no host"),
        pytest.param("https:///blob", id="empty host"),
        pytest.param("https://cdn.example:port/blob", id="port that is none"),
        pytest.param("https://cdn.example:99999/blob", id="port too large"),
        pytest.param("https://[::1/blob", id="open bracket"),
        pytest.param("https://[]@", id="brackets before nothing"),
        pytest.param("//[]@", id="brackets before nothing without scheme"),
        pytest.param("https://cdn\N{SNOWMAN}/blob", id="host of no ASCII"),
        pytest.param(f"https://{'a' * 254}/blob", id="host too long to be one"),
        pytest.param(f"https://{'a.' * 15_000}/blob", id="host of a whole header"),
        pytest.param("https://cdn.example\x1b[31m/blob", id="host with a control"),
        pytest.param("https://cdn.example%0d%0a/blob", id="host with an encoded line break"),
        pytest.param("https://cdn example/blob", id="host with a space"),
    ],
)
def test_where_no_redirect_leads(location: str) -> None:
    with pytest.raises(UpstreamInvalid) as raised:
        redirected(HERE, location)
    assert "password" not in str(raised.value)
    assert "cdn.example" not in str(raised.value)


def test_plain_http_may_stay_and_may_get_better() -> None:
    here = URL("http://registry.example/v2/")
    assert str(redirected(here, "http://cdn.example/blob")) == "http://cdn.example/blob"
    assert str(redirected(here, "https://cdn.example/blob")) == "https://cdn.example/blob"


@given(st.text(max_size=40) | st.text("htps:/@[]%.#?\\ \udcff1a", max_size=30))
def test_no_location_does_worse_than_be_refused(location: str) -> None:
    try:
        target = redirected(HERE, location)
    except UpstreamInvalid:
        return
    assert target.scheme == "https"
    assert target.host
    assert target.user is None
    assert target.password is None
    assert not target.fragment
    # It goes into errors and logs.
    assert len(str(target.origin())) < 300
    assert str(target.origin()).isprintable()


URL_WITH_SECRETS = URL("https://registry.example/v2/?token=hunter2")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), UpstreamTimeout),
        (aiohttp.ServerTimeoutError(), UpstreamTimeout),
        (aiohttp.ServerDisconnectedError(), UpstreamUnreachable),
        (aiohttp.ClientOSError(104, "reset"), UpstreamUnreachable),
        (aiohttp.ClientPayloadError("hunter2"), UpstreamUnreachable),
        (ssl.SSLError(1, "hunter2"), UpstreamUnreachable),
        (aiohttp.InvalidURL("hunter2"), UpstreamInvalid),
        (aiohttp.ClientError("hunter2"), UpstreamInvalid),
        (ValueError("hunter2"), UpstreamInvalid),
    ],
)
def test_what_the_library_raises_becomes_ours(error: Exception, kind: type[MirrorError]) -> None:
    with pytest.raises(kind) as raised, translated(URL_WITH_SECRETS):
        raise error
    assert type(raised.value) is kind
    assert "https://registry.example" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is error


def test_our_own_errors_pass() -> None:
    error = UpstreamInvalid("ours")
    with pytest.raises(UpstreamInvalid) as raised, translated(URL_WITH_SECRETS):
        raise error
    assert raised.value is error


def test_an_outgoing_request_does_not_show_its_authorization() -> None:
    outgoing = Outgoing("GET", URL("https://registry.example/"), False, authorization="Bearer hunter2")
    assert "hunter2" not in repr(outgoing)


class Journey(Egress):
    """An egress without a network: whatever is asked, the next stop is where the script says."""

    def __init__(self, *locations: str) -> None:
        super().__init__("test", lambda: "mirror-test")
        self._locations = list(locations)
        self._sessions[False] = cast(aiohttp.ClientSession, self)
        self.visited: list[tuple[str, str | None]] = []

    async def request(self, method: str, url: URL, *, headers: Mapping[str, str], **_: Any) -> aiohttp.ClientResponse:
        """Answer as a session does."""
        self.visited.append((str(url), headers.get("Authorization")))
        if not self._locations:
            return answer(200, url=url)
        return answer(307, headers={"Location": self._locations.pop(0)}, url=url)

    async def travel(self) -> list[tuple[str, str | None]]:
        """Return where a request with a credential came, and whether with it."""
        await self.open(Outgoing("GET", URL("https://a.example/v2/"), False, authorization="Bearer hunter2"))
        return self.visited


async def test_a_credential_stays_with_its_origin() -> None:
    assert await Journey("/elsewhere", "https://b.example/x").travel() == [
        ("https://a.example/v2/", "Bearer hunter2"),
        ("https://a.example/elsewhere", "Bearer hunter2"),
        ("https://b.example/x", None),
    ]


@pytest.mark.parametrize("way", ["https://b.example/x", "https://a.example:8443/x", "https://sub.a.example/x"])
async def test_a_credential_that_was_left_behind_is_not_picked_up_again(way: str) -> None:
    # Another host must not choose what the credential is used for.
    assert await Journey(way, "https://a.example/v2/private/blobs/x", "/further").travel() == [
        ("https://a.example/v2/", "Bearer hunter2"),
        (way, None),
        ("https://a.example/v2/private/blobs/x", None),
        ("https://a.example/further", None),
    ]


@pytest.mark.parametrize("way", ["https://b.example/x", "/elsewhere", "https://a.example/v2/"])
async def test_a_form_goes_nowhere_but_where_it_was_meant_for(way: str) -> None:
    journey = Journey(way)
    with pytest.raises(UpstreamInvalid, match="holds a secret"):
        await journey.open(Outgoing("POST", URL("https://a.example/token"), False, form={"refresh_token": "hunter2"}))
    assert journey.visited == [("https://a.example/token", None)]


def test_a_request_shows_none_of_its_secrets() -> None:
    url = URL("https://a.example/token")
    outgoing = Outgoing("POST", url, False, authorization="Basic hunter2", form={"refresh_token": "hunter2"})
    assert "hunter2" not in repr(outgoing)


@pytest.mark.parametrize(("hops", "ends"), [(MAX_HOPS, True), (MAX_HOPS + 1, False)])
async def test_how_many_redirects_are_followed(hops: int, ends: bool) -> None:
    journey = Journey(*["/again"] * hops)
    if ends:
        await journey.travel()
    else:
        with pytest.raises(UpstreamInvalid):
            await journey.travel()
    assert len(journey.visited) == MAX_HOPS + 1
