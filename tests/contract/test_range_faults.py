"""Faults that a client meets when it goes on with a blob: wrong parts, other objects, expired addresses."""

import time

import aiohttp
import pytest
from yarl import URL

from tests.contract.reply import Reply, ask, read_until_failure
from tests.fakes import content, faults, range_faults
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault

LAYER = content.blob(300_000)
OTHER = content.blob(300_000, seed="other")
PATH = f"/v2/library/app/blobs/{LAYER.digest}"
REST = {"Range": "bytes=200000-", "If-Range": f'"{LAYER.digest}"'}


@pytest.fixture
def url(registry: FakeRegistry) -> str:
    registry.put_blob("library/app", LAYER)
    return registry.url + PATH


async def spoiled(registry: FakeRegistry, client: aiohttp.ClientSession, fault: Fault) -> Reply:
    """The answer to a request for the rest."""
    registry.fault(PATH, fault)
    return await ask(client, registry.url + PATH, headers=REST)


@pytest.mark.usefixtures("url")
async def test_the_range_is_ignored(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    reply = await spoiled(registry, client, range_faults.ignored)
    assert (reply.status, reply.body, "Content-Range" in reply.headers) == (200, LAYER.data, False)


@pytest.mark.usefixtures("url")
async def test_no_range_is_to_be_had(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    reply = await spoiled(registry, client, range_faults.unsatisfiable)
    assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */300000")


@pytest.mark.parametrize(
    ("fault", "declared", "body"),
    [
        (range_faults.other_part(100_000), "bytes 100000-299999/300000", LAYER.data[100_000:]),
        (range_faults.other_part(200_000, 249_999), "bytes 200000-249999/300000", LAYER.data[200_000:250_000]),
        (range_faults.replaced_unnoticed(OTHER.data), "bytes 200000-299999/300000", OTHER.data[200_000:]),
        (
            range_faults.replaced_unnoticed(OTHER.data[:250_000]),
            "bytes 200000-249999/250000",
            OTHER.data[200_000:250_000],
        ),
        (faults.header("Content-Range", "bytes 0-1/2"), "bytes 0-1/2", LAYER.data[200_000:]),
        (faults.header("Content-Range", None), None, LAYER.data[200_000:]),
    ],
)
@pytest.mark.usefixtures("url")
async def test_another_part(
    registry: FakeRegistry, client: aiohttp.ClientSession, fault: Fault, declared: str | None, body: bytes
) -> None:
    reply = await spoiled(registry, client, fault)
    assert (reply.status, reply.headers.get("Content-Range"), reply.body) == (206, declared, body)


@pytest.mark.usefixtures("url")
async def test_several_content_ranges(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    reply = await spoiled(registry, client, faults.repeated_header("Content-Range", "bytes 0-99999/300000"))
    assert reply.headers.getall("Content-Range") == ["bytes 200000-299999/300000", "bytes 0-99999/300000"]


@pytest.mark.usefixtures("url")
async def test_a_part_in_parts(registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    reply = await spoiled(registry, client, range_faults.multipart)
    assert reply.status == 206
    assert reply.headers["Content-Type"] == "multipart/byteranges; boundary=fake-boundary"
    assert "Content-Range" not in reply.headers
    assert reply.body.startswith(b"--fake-boundary\r\n")
    assert b"\r\nContent-Range: bytes 200000-299999/300000\r\n\r\n" + LAYER.data[200_000:] in reply.body
    assert reply.body.endswith(b"\r\n--fake-boundary--\r\n")


@pytest.mark.usefixtures("url")
async def test_another_object_that_if_range_has_found_out(
    registry: FakeRegistry, client: aiohttp.ClientSession
) -> None:
    reply = await spoiled(registry, client, range_faults.replaced(OTHER.data))
    assert (reply.status, reply.body, "Content-Range" in reply.headers) == (200, OTHER.data, False)
    assert reply.headers["ETag"] != f'"{LAYER.digest}"'


async def test_another_object_that_if_range_has_not_found_out_has_its_own_tag(
    registry: FakeRegistry, client: aiohttp.ClientSession, url: str
) -> None:
    reply = await spoiled(registry, client, range_faults.replaced_unnoticed(OTHER.data))
    whole = await ask(client, url)
    assert reply.headers["ETag"] != whole.headers["ETag"]


async def test_a_fault_of_a_range_tells_where_none_was_asked_for(
    registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal, url: str
) -> None:
    registry.fault(PATH, range_faults.ignored)
    assert (await ask(client, url)).status == 500
    assert "no range was asked for" in journal.expect_unknown()[0]


async def test_a_cut_after_every_so_many_bytes(
    registry: FakeRegistry, client: aiohttp.ClientSession, journal: Journal, url: str
) -> None:
    registry.always(PATH, faults.cut_every(120_000))
    received = b""
    for _ in range(2):
        async with client.get(url, headers={"Range": f"bytes={len(received)}-"}) as response:
            received += await read_until_failure(response)
    reply = await ask(client, url, headers={"Range": f"bytes={len(received)}-"})
    assert received + reply.body == LAYER.data
    assert [(entry.range, entry.sent, entry.complete) for entry in journal.entries] == [
        ("bytes=0-", 120_000, False),
        ("bytes=120000-", 120_000, False),
        ("bytes=240000-", 60_000, True),
    ]


async def test_a_range_fault_and_a_cut_on_the_same_answer(
    registry: FakeRegistry, client: aiohttp.ClientSession, url: str
) -> None:
    registry.fault(PATH, faults.both(faults.cut_at(1000), range_faults.ignored))
    async with client.get(url, headers=REST) as response:
        assert await read_until_failure(response) == LAYER.data[:1000]


async def test_what_was_asked_for_is_in_the_journal(client: aiohttp.ClientSession, journal: Journal, url: str) -> None:
    await ask(client, url, headers=REST)
    await ask(client, url)
    rest, whole = journal.entries
    assert (rest.range, rest.if_range, rest.sent) == (REST["Range"], REST["If-Range"], 100_000)
    assert (whole.range, whole.if_range, whole.sent) == (None, None, 300_000)
    assert str(rest).endswith(f" -> 206 100000B [bytes=200000-, if {REST['If-Range']}]")


async def signed(client: aiohttp.ClientSession, url: str) -> URL:
    """An address that the registry sends its clients to, as it is."""
    async with client.get(url, allow_redirects=False) as response:
        return URL(response.headers["Location"], encoded=True)


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 200), (REST, 200), ({"Range": REST["Range"]}, 206), ({"Range": "bytes=300000-"}, 416)]
)
async def test_an_address_that_works_once(
    registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, url: str, headers: dict[str, str], status: int
) -> None:
    cdn.single_use = True
    registry.redirect_blobs(cdn)
    for _ in range(2):
        address = await signed(client, url)
        statuses = []
        for _ in range(2):
            async with client.get(address, headers=headers) as response:
                statuses.append(response.status)
        assert statuses == [status, 403]


async def test_the_cdn_knows_its_objects_by_their_bytes(
    registry: FakeRegistry, cdn: FakeCDN, client: aiohttp.ClientSession, url: str
) -> None:
    registry.redirect_blobs(cdn)
    async with client.get(await signed(client, url)) as response:
        headers = {"Range": "bytes=200000-", "If-Range": response.headers["ETag"]}
    async with client.get(await signed(client, url), headers=headers) as response:
        assert (response.status, await response.read()) == (206, LAYER.data[200_000:])
    registry.put_blob("library/app", content.FakeBlob(LAYER.digest, OTHER.data))
    async with client.get(await signed(client, url), headers=headers) as response:
        assert (response.status, await response.read()) == (200, OTHER.data)


async def test_rate(registry: FakeRegistry, client: aiohttp.ClientSession, url: str) -> None:
    registry.fault(PATH, faults.rate(1_000_000))
    begun = time.monotonic()
    async with client.get(url) as response:
        assert await response.read() == LAYER.data
    assert time.monotonic() - begun >= 0.2
