"""Going on with a blob: what a client that was cut asks for, and what both registries answer."""

import aiohttp
import pytest

from tests.contract.conftest import Subjects
from tests.contract.reply import ask
from tests.fakes import content

IMAGE = content.image(1, seed="ranges")
LAYER = IMAGE.layers[0]
ETAG = f'"{LAYER.digest}"'


@pytest.fixture
def url(subjects: Subjects) -> str:
    subjects.open.add_image("library/ranges", "latest", IMAGE)
    return f"{subjects.open.url}/v2/library/ranges/blobs/{LAYER.digest}"


async def test_a_part_says_of_what_it_is_one(client: aiohttp.ClientSession, url: str) -> None:
    reply = await ask(client, url, headers={"Range": "bytes=1000-", "If-Range": ETAG})
    assert (reply.status, reply.body) == (206, LAYER.data[1000:])
    names = ("Content-Type", "Content-Range", "Content-Length", "Accept-Ranges", "ETag", "Docker-Content-Digest")
    assert reply.picked(*names) == {
        "Content-Type": "application/octet-stream",
        "Content-Range": "bytes 1000-4095/4096",
        "Content-Length": "3096",
        "Accept-Ranges": "bytes",
        "ETag": ETAG,
        "Docker-Content-Digest": LAYER.digest,
    }


@pytest.mark.parametrize("condition", [f"W/{ETAG}", '"another"', LAYER.digest, "x"])
async def test_what_is_not_the_strong_tag_of_the_object_gets_it_whole(
    client: aiohttp.ClientSession, url: str, condition: str
) -> None:
    reply = await ask(client, url, headers={"Range": "bytes=1000-", "If-Range": condition})
    assert (reply.status, reply.body, "Content-Range" in reply.headers) == (200, LAYER.data, False)


@pytest.mark.parametrize("first", [4096, 4097, 10**15])
async def test_there_is_no_rest_behind_the_end(client: aiohttp.ClientSession, url: str, first: int) -> None:
    # The body is not read: the real one declares the blob's length for the short text it sends with this status.
    async with client.get(url, headers={"Range": f"bytes={first}-", "If-Range": ETAG}) as response:
        assert (response.status, response.headers["Content-Range"]) == (416, "bytes */4096")
        response.close()


async def test_parts_make_up_the_whole(client: aiohttp.ClientSession, url: str) -> None:
    received = bytearray()
    while len(received) < LAYER.size:
        headers = {"Range": f"bytes={len(received)}-", "If-Range": ETAG}
        async with client.get(url, headers=headers) as response:
            assert response.headers["Content-Range"] == f"bytes {len(received)}-4095/4096"
            received += (await response.content.read(1000))[:1000]
            response.close()
    assert received == LAYER.data
