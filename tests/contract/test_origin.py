"""The life of a fake: refusing, hanging, objecting to what nobody prepared."""

import asyncio

import aiohttp
import pytest

from tests.fakes import content, faults
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.listing import ABSOLUTE, QUERY_ONLY, RELATIVE, Pages
from tests.fakes.registry import FakeRegistry

pytest_plugins = ["pytester"]


async def test_stop_and_start_on_the_same_port(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{registry.url}/v2/") as response:
        assert response.status == 200
    await registry.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(f"{registry.url}/v2/")
    await registry.start()
    async with client.get(f"{registry.url}/v2/") as response:
        assert response.status == 200


async def test_stop_resets_running_answers(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    layer = content.blob()
    registry.put_blob("a", layer)
    registry.fault("*", faults.stop_at(10, Gate()))
    async with client.get(f"{registry.url}/v2/a/blobs/{layer.digest}") as response:
        await response.content.readexactly(10)
        await registry.stop()
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_hang_and_resume(registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal) -> None:
    registry.hang()
    asked = asyncio.create_task(client.get(f"{registry.url}/v2/"))
    (entry,) = await journal.wait_for(path="/v2/")
    await asyncio.sleep(0.02)
    assert (asked.done(), entry.status) == (False, None)
    registry.resume()
    async with await asked as response:
        assert response.status == 200


async def test_journal(registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal) -> None:
    layer = content.blob()
    registry.put_blob("a", layer)
    headers = {"Range": "bytes=4000-", "Authorization": "Bearer x"}
    async with client.get(f"{registry.url}/v2/a/blobs/{layer.digest}?ns=b", headers=headers) as response:
        await response.read()
    assert str(journal) == (f"registry GET /v2/a/blobs/{layer.digest}?ns=b -> 206 96B [bearer, bytes=4000-]")
    assert journal.paths() == [f"GET /v2/a/blobs/{layer.digest}"]
    assert journal.count(method="GET", path="/v2/*/blobs/*", status=206, authorization="bearer") == 1
    assert journal.count(method="HEAD") == 0
    assert journal.body_bytes("*/blobs/*") == 96


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/elsewhere", 404),
        ("GET", "/v2/a/manifests/nope", 404),
        ("GET", "/v2/a/blobs/sha256:00", 404),
        ("POST", "/v2/a/blobs/uploads", 405),
        ("PUT", "/v2/a/manifests/latest", 405),
        ("GET", "/objects/sha256:00", 404),
    ],
)
async def test_what_nobody_prepared(
    registry: FakeRegistry,
    client: aiohttp.ClientSession,
    journal: Journal,
    method: str,
    path: str,
    status: int,
) -> None:
    registry.put_blob("a", content.blob())
    async with client.request(method, registry.url + path, data=b"body" if method != "GET" else None) as response:
        assert response.status == status
    assert journal.expect_unknown() == [f"registry {method} {path}: nobody prepared this, answered {status}"]


async def test_what_was_removed_is_no_surprise(
    registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal
) -> None:
    image = content.image(1)
    registry.add_image("a", "latest", image)
    registry.remove_tag("a", "latest")
    registry.remove_blob("a", image.layers[0].digest)
    registry.absent("/v2/never/*")
    paths = ["a/manifests/latest", f"a/blobs/{image.layers[0].digest}", "never/manifests/latest"]
    for path in paths:
        async with client.get(f"{registry.url}/v2/{path}") as response:
            assert response.status == 404
    assert journal.unexpected == []


async def test_a_scripted_answer_is_no_surprise(
    registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal
) -> None:
    registry.always("/v2/never/*", faults.status(429))
    registry.always("/v2/slow/*", faults.delay(0.01))
    for name, status in (("never", 429), ("slow", 404)):
        async with client.get(f"{registry.url}/v2/{name}/tags/list") as response:
            assert response.status == status
    assert journal.expect_unknown() == ["registry GET /v2/slow/tags/list: nobody prepared this, answered 404"]


async def test_a_failing_fault_is_told(registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal) -> None:
    registry.fault("/v2/", faults.meanwhile(lambda: 1 / 0))
    async with client.get(f"{registry.url}/v2/") as response:
        assert response.status == 500
    assert "ZeroDivisionError" in journal.expect_unknown()[0]


async def test_many_requests_on_one_connection(registry: FakeRegistry) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", registry.port)
    writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    for _ in range(3):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert await reader.readexactly(2) == b"{}"
    writer.close()
    await writer.wait_closed()


async def test_connections_are_counted(registry: FakeRegistry) -> None:
    for expected in (1, 2):
        async with aiohttp.ClientSession() as client:
            for _ in range(2):
                async with client.get(f"{registry.url}/v2/") as response:
                    await response.read()
                assert (registry.connections, registry.accepted) == (1, expected)
        async with asyncio.timeout(60):
            while registry.connections:  # noqa: ASYNC110  # nothing tells when the last one is gone
                await asyncio.sleep(0.01)


async def test_tag_pages(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    for tag in "cab":
        registry.add_image("a", tag, content.image(1))
    registry.pages = Pages(size=2)
    async with client.get(f"{registry.url}/v2/a/tags/list") as response:
        assert (await response.json())["tags"] == ["a", "b"]
        assert response.headers["Link"] == '</v2/a/tags/list?n=2&last=b>; rel="next"'
    async with client.get(f"{registry.url}/v2/a/tags/list?n=2&last=b") as response:
        assert (await response.json())["tags"] == ["c"]
        assert "Link" not in response.headers


@pytest.mark.parametrize("link", [RELATIVE, ABSOLUTE, QUERY_ONLY])
async def test_pages_as_registries_cut_them(registry: FakeRegistry, client: aiohttp.ClientSession, link: str) -> None:
    for tag in "abc":
        registry.add_image("a", tag, content.image(1))
    registry.pages = Pages(limit=2, link=link, cursor="next_page")
    async with client.get(f"{registry.url}/v2/a/tags/list?n=1000") as response:
        assert (await response.json())["tags"] == ["a", "b"]
        assert "next_page=b" in response.headers["Link"]
        following = response.links["next"]["url"]
    assert str(following) == f"{registry.url}/v2/a/tags/list?n=2&next_page=b"
    async with client.get(following) as response:
        assert (await response.json())["tags"] == ["c"]
        assert "Link" not in response.headers


async def test_pages_of_referrers(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    image = content.image(1)
    signatures = [content.image(1, seed=f"signature {number}", subject=image.manifest) for number in range(3)]
    for added in (image, *signatures):
        registry.add_image("a", None, added)
    registry.pages = Pages(limit=2)
    url, digests = f"{registry.url}/v2/a/referrers/{image.digest}", []
    while url:
        async with client.get(url) as response:
            listed = await response.json(content_type=content.OCI_INDEX)
            digests += [one["digest"] for one in listed["manifests"]]
            url = str(response.links["next"]["url"]) if "Link" in response.headers else ""
    assert digests == sorted(signature.digest for signature in signatures)


async def test_referrers(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    image = content.image(1)
    signature = content.image(1, seed="signature", subject=image.manifest)
    registry.add_image("a", "latest", image)
    registry.add_image("a", None, signature)
    url = f"{registry.url}/v2/a/referrers/{image.digest}"
    async with client.get(url) as response:
        listed = await response.json(content_type=content.OCI_INDEX)
    assert [one["digest"] for one in listed["manifests"]] == [signature.digest]
    registry.supports_referrers = False
    async with client.get(url) as response:
        assert response.status == 404


def test_fixture_fails_the_test_that_leaves_something_unexpected(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest("pytest_plugins = ['tests.fakes.fixtures']")
    pytester.makepyfile(
        """
        import aiohttp
        async def test_it(registry):
            async with aiohttp.ClientSession() as client:
                await client.get(registry.url + "/v2/a/manifests/latest")
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*registry GET /v2/a/manifests/latest: nobody prepared this*"])
