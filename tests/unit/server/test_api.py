from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from mirror.errors import Denied, ManifestUnknown, NotPublic, UnknownRegistry, UpstreamFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.routing import Routing, UpstreamNames
from mirror.proxy.visibility import Visibility
from mirror.server.api import Handlers, RegistryApi
from mirror.server.blobs import BlobHandler
from mirror.server.circle import Circle
from mirror.server.exchange import Exchange
from mirror.server.manifests import ManifestHandler
from mirror.server.referrers import ReferrersHandler
from mirror.server.tags import TagsHandler
from tests.unit.proxy import test_pull_blob, test_pull_listing, test_pull_manifest, test_visibility
from tests.unit.proxy.doubles import HUB
from tests.unit.recorder import Recorder

DIGEST = test_pull_manifest.OLD.digest


class Api:
    """The public listener's handler, with everything behind it in memory."""

    def __init__(self, age: float = test_pull_manifest.FRESH, visibility: Visibility | None = None) -> None:
        self.manifests = test_pull_manifest.Mirror(age)
        self.blobs = test_pull_blob.Mirror.with_stored_blob(HUB)
        self.lists = test_pull_listing.Mirror(age)
        self.served: list[str] = []
        self.given: list[str] = []
        self._api = RegistryApi(
            Routing([UpstreamNames("docker.io")], "docker.io"),
            Circle(lambda: "mirror-test", Recorder()),
            visibility or test_visibility.Gate().visibility,
            Handlers(
                ManifestHandler(
                    self.manifests.puller,
                    lambda route, tag, _: self.served.append(f"{route}:{tag}"),
                    lambda route, pulled: self.given.append(f"{route}@{pulled.manifest.digest}"),
                    lambda route: True,
                ),
                BlobHandler(self.blobs.pull, lambda route: True),
                TagsHandler(self.lists.puller),
                ReferrersHandler(self.lists.puller),
            ),
        )

    async def ask(self, target: str, method: str = "GET") -> tuple[Exchange, int, dict[str, str]]:
        request = make_mocked_request(method, target, headers={"Host": "mirror.example"})
        exchange = Exchange(request, RequestFinished(method, target, "client"))
        response = await self._api.handle(exchange)
        return exchange, response.status, dict(response.headers)


@pytest.mark.parametrize("path", ["/v2/", "/v2", "/v2/?ns=unknown", "/healthz", "/healthz?x"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_is_answered_here(path: str, method: str) -> None:
    exchange, status, headers = await Api().ask(path, method)
    assert status == 200
    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert headers["Cache-Status"] == "mirror"
    assert exchange.note.outcome is not Outcome.ERROR


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/v2/", "/v2/a/blobs/uploads/", "/v2/a/manifests/b", "/healthz", "/nonsense"])
async def test_nothing_can_be_changed(method: str, path: str) -> None:
    _, status, headers = await Api().ask(path, method)
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


async def test_a_manifest_with_all_its_headers() -> None:
    exchange, status, headers = await Api().ask("/v2/alpine/manifests/latest?ns=docker.io")
    digest = str(test_pull_manifest.OLD.digest)
    assert status == 200
    assert headers["Docker-Content-Digest"] == digest
    assert headers["ETag"] == f'"{digest}"'
    assert headers["Age"] == str(test_pull_manifest.FRESH)
    assert headers["OCI-Namespace"] == "docker.io"
    assert headers["Cache-Status"] == "mirror; hit"
    assert (exchange.note.upstream, exchange.note.kind) == ("docker.io", "manifest")


async def test_tags_that_are_served_are_heard_of_and_nothing_else() -> None:
    api = Api()
    api.manifests.upstream.head_manifests.append(ManifestUnknown("no"))
    with pytest.raises(ManifestUnknown):
        await api.ask("/v2/alpine/manifests/nothing")
    await api.ask("/v2/alpine/manifests/latest", "HEAD")
    await api.ask(f"/v2/alpine/manifests/{test_pull_manifest.OLD.digest}")
    assert api.served == ["docker.io/library/alpine:latest"]
    # What is read ahead is what a body was given of.
    assert api.given == [f"docker.io/library/alpine@{test_pull_manifest.OLD.digest}"]


async def test_a_stale_manifest_says_so_to_the_client_and_to_the_operator() -> None:
    api = Api(test_pull_manifest.STALE)
    api.manifests.upstream.head_manifests.append(UpstreamFailed("upstream answered 502"))
    exchange, status, headers = await api.ask("/v2/alpine/manifests/latest")
    assert status == 200
    assert headers["Cache-Status"] == "mirror; fwd=stale; detail=upstream-unavailable"
    assert headers["Warning"].startswith("299 - ")
    assert exchange.note.outcome is Outcome.STALE
    assert exchange.note.cause == "served stale: upstream answered 502"


async def test_a_manifest_that_is_not_stale_has_no_cause() -> None:
    exchange, _, headers = await Api().ask("/v2/alpine/manifests/latest")
    assert exchange.note.cause is None
    assert "Warning" not in headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "about",
    ["manifests/latest", f"manifests/{DIGEST}", f"blobs/{test_pull_blob.DIGEST}", f"referrers/{DIGEST}", "tags/list"],
)
async def test_what_clients_may_not_see_is_not_looked_at(about: str, method: str) -> None:
    gate = test_visibility.Gate(Denied("no"))
    await gate.visibility.guard(["docker.io"])
    api = Api(visibility=gate.visibility)
    with pytest.raises(NotPublic):
        await api.ask(f"/v2/alpine/{about}", method)
    assert gate.anybody.asked == [f"library/alpine:{about.partition('/')[2]}".replace(":list", ":None")]
    assert api.manifests.upstream.asked == api.blobs.upstream.asked == api.lists.upstream.asked == []


async def test_the_namespace_is_not_echoed_to_who_did_not_give_it() -> None:
    _, _, headers = await Api().ask("/v2/alpine/manifests/latest")
    assert "OCI-Namespace" not in headers


async def test_the_head_of_a_blob() -> None:
    _, status, headers = await Api().ask(f"/v2/library/alpine/blobs/{test_pull_blob.DIGEST}", "HEAD")
    assert status == 200
    assert headers["Content-Length"] == str(len(test_pull_blob.DATA))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Status"] == "mirror; hit"


@pytest.mark.parametrize("target", ["/v2/alpine/manifests/latest?ns=quay.io", f"/v2/a/blobs/{Digest.of(b'')}?ns="])
async def test_an_unknown_namespace_reaches_no_upstream(target: str) -> None:
    api = Api()
    with pytest.raises(UnknownRegistry):
        await api.ask(target)
    assert api.manifests.upstream.asked == api.blobs.upstream.asked == []
