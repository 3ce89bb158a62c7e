"""The redirects of a fake registry, and its CDN."""

import aiohttp
import pytest
from yarl import URL

from tests.fakes import content
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.redirects import Form, Redirect
from tests.fakes.registry import FakeRegistry

LAYER = content.blob()
PATH = f"/v2/a/blobs/{LAYER.digest}"


@pytest.fixture(autouse=True)
def layer(registry: FakeRegistry) -> None:
    registry.put_blob("a", LAYER)


async def first_hop(client: aiohttp.ClientSession, url: str) -> tuple[int, str | None]:
    async with client.get(url, allow_redirects=False) as response:
        return response.status, response.headers.get("Location")


async def fetch(client: aiohttp.ClientSession, registry: FakeRegistry, **headers: str) -> tuple[int, bytes]:
    """Follow redirects as a careful client does: addresses untouched, no credentials on the way."""
    url = URL(registry.url + PATH)
    for _ in range(10):
        async with client.get(url, headers=headers, allow_redirects=False) as response:
            if response.status not in {301, 302, 303, 307, 308}:
                return response.status, await response.read()
            url = url.join(URL(response.headers["Location"], encoded=True))
    raise AssertionError("too many redirects")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_status(registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, status: int) -> None:
    registry.redirect_blobs(cdn, Redirect(status=status))
    assert (await first_hop(client, registry.url + PATH))[0] == status
    assert await fetch(client, registry) == (200, LAYER.data)


@pytest.mark.parametrize(
    ("form", "start"),
    [("absolute", "http://127.0.0.1:"), ("network", "//127.0.0.1:"), ("relative", "/objects/")],
)
async def test_form(
    registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, form: Form, start: str
) -> None:
    registry.redirect_blobs(cdn, Redirect(form=form))
    location = (await first_hop(client, registry.url + PATH))[1]
    assert location is not None
    assert location.startswith(start)
    assert await fetch(client, registry) == (200, LAYER.data)


async def test_range_at_the_cdn(registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession) -> None:
    registry.redirect_blobs(cdn)
    assert await fetch(client, registry, Range="bytes=4000-") == (206, LAYER.data[4000:])
    cdn.supports_ranges = False
    assert await fetch(client, registry, Range="bytes=4000-") == (200, LAYER.data)


async def test_hops(registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, journal: Journal) -> None:
    registry.redirect_blobs(cdn, Redirect(hops=4))
    assert await fetch(client, registry) == (200, LAYER.data)
    assert [entry.status for entry in journal.entries] == [307, 307, 307, 307, 200]


async def test_endless_hops(registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession) -> None:
    registry.redirect_blobs(cdn, Redirect(hops="endless"))
    with pytest.raises(AssertionError, match="too many"):
        await fetch(client, registry)


async def test_locations_that_lead_nowhere(registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession) -> None:
    registry.redirect_blobs(cdn, Redirect(missing=True))
    assert await first_hop(client, registry.url + PATH) == (307, None)
    registry.redirect_blobs(cdn, Redirect(location="ftp://x{path}"))
    assert await first_hop(client, registry.url + PATH) == (307, f"ftp://x{PATH}")


async def test_credentials_are_refused_and_told(
    registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, journal: Journal
) -> None:
    registry.redirect_blobs(cdn)
    status, _ = await fetch(client, registry, Authorization="Bearer secret")
    assert status == 400
    assert "Authorization must not travel here" in journal.expect_unknown()[0]
    assert journal.count(host="cdn", authorization="bearer", status=400) == 1


async def test_expired_signature(
    registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, journal: Journal
) -> None:
    registry.redirect_blobs(cdn)
    location = (await first_hop(client, registry.url + PATH))[1]
    assert location is not None
    cdn.expire_signatures()
    async with client.get(URL(location, encoded=True)) as response:
        assert response.status == 403
    assert await fetch(client, registry) == (200, LAYER.data)


async def test_requoted_signature(
    registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, journal: Journal
) -> None:
    registry.redirect_blobs(cdn)
    location = (await first_hop(client, registry.url + PATH))[1]
    async with client.get(URL(location or "")) as response:
        assert response.status == 403
    assert "altered on the way" in journal.expect_unknown()[0]


async def test_cdn_that_signs_for_get_only(registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession) -> None:
    registry.redirect_blobs(cdn)
    cdn.allows_head = False
    location = (await first_hop(client, registry.url + PATH))[1]
    async with client.head(URL(location or "", encoded=True)) as response:
        assert response.status == 403


async def test_manifests(registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession) -> None:
    image = content.image(1)
    registry.add_image("a", "latest", image)
    registry.redirect_manifests(cdn)
    url = f"{registry.url}/v2/a/manifests/latest"
    async with client.get(url, headers={"Accept": content.OCI_MANIFEST}, allow_redirects=False) as response:
        location = URL(response.headers["Location"], encoded=True)
    async with client.get(location) as response:
        assert response.headers["Content-Type"] == content.OCI_MANIFEST
        assert await response.read() == image.manifest.data
