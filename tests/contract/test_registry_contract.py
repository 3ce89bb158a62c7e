"""One contract, two registries: the fake must answer as the distribution project's registry does."""

import aiohttp
import pytest

from tests.contract.conftest import Subjects
from tests.contract.reply import ask, assert_error
from tests.fakes import content
from tests.fakes.content import FakeImage, FakeIndex
from tests.fakes.registry import FakeRegistry

REPOSITORY = "library/contract"
IMAGE = content.image(2, seed="contract")
DOCKER_IMAGE = content.image(1, seed="contract", docker=True)
INDEX = content.index()
DOCKER_LIST = content.index(docker=True)
ABSENT = "sha256:" + "0" * 64
ACCEPT = {"Accept": ", ".join(content.ALL_TYPES)}

EVERYTHING: list[tuple[str, FakeImage | FakeIndex]] = [
    ("oci", IMAGE),
    ("docker", DOCKER_IMAGE),
    ("index", INDEX),
    ("list", DOCKER_LIST),
]


@pytest.fixture(autouse=True)
def content_added(subjects: Subjects) -> None:
    for tag, added in EVERYTHING:
        subjects.open.add_image(REPOSITORY, tag, added)


def manifest_url(subjects: Subjects, reference: str) -> str:
    return f"{subjects.open.url}/v2/{REPOSITORY}/manifests/{reference}"


def blob_url(subjects: Subjects, digest: str) -> str:
    return f"{subjects.open.url}/v2/{REPOSITORY}/blobs/{digest}"


async def test_ping(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    reply = await ask(client, f"{subjects.open.url}/v2/")
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert reply.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize(("tag", "added"), EVERYTHING, ids=[tag for tag, _ in EVERYTHING])
async def test_manifest(
    subjects: Subjects,
    client: aiohttp.ClientSession,
    tag: str,
    added: FakeImage | FakeIndex,
    by: str,
    method: str,
) -> None:
    reference = tag if by == "tag" else added.digest
    reply = await ask(client, manifest_url(subjects, reference), method, ACCEPT)
    assert reply.status == 200
    assert reply.picked("Content-Type", "Docker-Content-Digest", "Content-Length", "ETag") == {
        "Content-Type": added.manifest.media_type,
        "Docker-Content-Digest": added.digest,
        "Content-Length": str(added.manifest.size),
        "ETag": f'"{added.digest}"',
    }
    assert reply.body == (added.manifest.data if method == "GET" else b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["nope", ABSENT])
async def test_unknown_manifest(subjects: Subjects, client: aiohttp.ClientSession, reference: str, method: str) -> None:
    subjects.expect_absent(f"/v2/{REPOSITORY}/manifests/{reference}")
    reply = await ask(client, manifest_url(subjects, reference), method, ACCEPT)
    assert_error(reply, method, 404, "MANIFEST_UNKNOWN")


async def test_manifest_of_an_unknown_repository(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    subjects.expect_absent("/v2/library/nope/*")
    reply = await ask(client, f"{subjects.open.url}/v2/library/nope/manifests/latest", headers=ACCEPT)
    assert_error(reply, "GET", 404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("accept", [None, "*/*", content.DOCKER_MANIFEST])
@pytest.mark.parametrize("added", [IMAGE, INDEX], ids=["manifest", "index"])
@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_oci_manifest_for_a_client_that_does_not_take_it(
    subjects: Subjects,
    client: aiohttp.ClientSession,
    accept: str | None,
    added: FakeImage | FakeIndex,
    by: str,
) -> None:
    tag = "oci" if added is IMAGE else "index"
    headers = {"Accept": accept} if accept else None
    url = manifest_url(subjects, tag if by == "tag" else added.digest)
    reply = await ask(client, url, headers=headers)
    assert_error(reply, "GET", 404, "MANIFEST_UNKNOWN")
    assert b"found, but accept header does not support" in reply.body


async def test_docker_list_for_a_client_that_takes_manifests_only(
    subjects: Subjects, client: aiohttp.ClientSession
) -> None:
    headers = {"Accept": content.DOCKER_MANIFEST}
    by_tag = await ask(client, manifest_url(subjects, "list"), headers=headers)
    by_digest = await ask(client, manifest_url(subjects, DOCKER_LIST.digest), headers=headers)
    assert by_tag.body == DOCKER_LIST.images[0].manifest.data
    assert by_tag.headers["Docker-Content-Digest"] == DOCKER_LIST.images[0].digest
    assert by_digest.body == DOCKER_LIST.manifest.data


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_manifest_the_client_has(subjects: Subjects, client: aiohttp.ClientSession, method: str) -> None:
    headers = ACCEPT | {"If-None-Match": f'"{IMAGE.digest}"'}
    reply = await ask(client, manifest_url(subjects, "oci"), method, headers)
    assert (reply.status, reply.body) == (304, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_blob(subjects: Subjects, client: aiohttp.ClientSession, method: str) -> None:
    layer = IMAGE.layers[0]
    reply = await ask(client, blob_url(subjects, layer.digest), method)
    assert reply.status == 200
    names = ("Content-Type", "Docker-Content-Digest", "Content-Length", "Accept-Ranges", "ETag")
    assert reply.picked(*names) == {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": layer.digest,
        "Content-Length": str(layer.size),
        "Accept-Ranges": "bytes",
        "ETag": f'"{layer.digest}"',
    }
    assert reply.body == (layer.data if method == "GET" else b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_unknown_blob(subjects: Subjects, client: aiohttp.ClientSession, method: str) -> None:
    subjects.expect_absent(f"/v2/{REPOSITORY}/blobs/{ABSENT}")
    reply = await ask(client, blob_url(subjects, ABSENT), method)
    assert_error(reply, method, 404, "BLOB_UNKNOWN")


async def test_blob_of_another_repository(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    subjects.expect_absent("/v2/library/nope/*")
    digest = IMAGE.layers[0].digest
    reply = await ask(client, f"{subjects.open.url}/v2/library/nope/blobs/{digest}")
    assert_error(reply, "GET", 404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, 4096),
        ("bytes=4000-", 4000, 4096),
        ("bytes=10-19", 10, 20),
        ("bytes=-9", 4087, 4096),
        ("bytes=4000-9999", 4000, 4096),
    ],
)
async def test_range(
    subjects: Subjects, client: aiohttp.ClientSession, asked: str, start: int, stop: int, method: str
) -> None:
    layer = IMAGE.layers[0]
    reply = await ask(client, blob_url(subjects, layer.digest), method, {"Range": asked})
    assert reply.status == 206
    assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/4096"
    assert reply.headers["Content-Length"] == str(stop - start)
    assert reply.headers["Docker-Content-Digest"] == layer.digest
    assert reply.body == (layer.data[start:stop] if method == "GET" else b"")


async def test_range_that_starts_at_the_end(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    # By HEAD: the real one declares the blob's length for the short text it sends with this status.
    url = blob_url(subjects, IMAGE.layers[0].digest)
    reply = await ask(client, url, "HEAD", {"Range": "bytes=4096-"})
    assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */4096")


@pytest.mark.parametrize(("condition", "status"), [("current", 206), ("other", 200)])
async def test_range_of_the_entity_the_client_began(
    subjects: Subjects, client: aiohttp.ClientSession, condition: str, status: int
) -> None:
    layer = IMAGE.layers[0]
    etag = f'"{layer.digest if condition == "current" else ABSENT}"'
    headers = {"Range": "bytes=4000-", "If-Range": etag}
    reply = await ask(client, blob_url(subjects, layer.digest), headers=headers)
    assert (reply.status, reply.body) == (status, layer.data[4000 if status == 206 else 0 :])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_blob_the_client_has(subjects: Subjects, client: aiohttp.ClientSession, method: str) -> None:
    digest = IMAGE.layers[0].digest
    reply = await ask(client, blob_url(subjects, digest), method, {"If-None-Match": f'"{digest}"'})
    assert (reply.status, reply.body) == (304, b"")


async def test_tags(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{subjects.open.url}/v2/{REPOSITORY}/tags/list") as response:
        listed = await response.json()
    assert listed["name"] == REPOSITORY
    assert sorted(listed["tags"]) == sorted(tag for tag, _ in EVERYTHING)


async def test_tags_are_listed_to_get_only(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    reply = await ask(client, f"{subjects.open.url}/v2/{REPOSITORY}/tags/list", "HEAD")
    assert reply.status == 405


async def test_a_registry_without_the_referrers_api(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    if isinstance(subjects.open, FakeRegistry):
        subjects.open.supports_referrers = False
    reply = await ask(client, f"{subjects.open.url}/v2/{REPOSITORY}/referrers/{IMAGE.digest}")
    assert (reply.status, reply.body) == (404, b"404 page not found\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_tags_of_an_unknown_repository(subjects: Subjects, client: aiohttp.ClientSession) -> None:
    subjects.expect_absent("/v2/library/nope/*")
    reply = await ask(client, f"{subjects.open.url}/v2/library/nope/tags/list")
    assert_error(reply, "GET", 404, "NAME_UNKNOWN")
