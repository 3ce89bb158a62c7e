"""Pull: manifests, blobs, and whether they exist."""

from __future__ import annotations

import pytest

from tests.conformance.site import Site
from tests.fakes import content
from tests.fakes.content import OCI_INDEX, OCI_MANIFEST, FakeImage, FakeIndex
from tests.integration.asking import ask, error_code

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABSENT = "sha256:" + "0" * 64
HEX = "a" * 64


# Pulling manifests. --------------------------------------------------------------------------------------


async def test_pull_reference_is_digest_or_tag(site: Site) -> None:
    digest = site.add(content.image(seed="reference"), "1.0")
    for reference in ("1.0", digest):
        reply = await site.get(f"manifests/{reference}")
        assert (reply.status, content.digest_of(reply.body)) == (200, digest)


NO_REFERENCES = [f"sha256:{HEX}0", f"sha256:{HEX.upper()}", f"sha1:{HEX[:40]}", "sha256:", "-x", ".x", "a+b", "a@b"]


async def test_pull_reference_is_nothing_else(site: Site) -> None:
    for reference in NO_REFERENCES:
        reply = await site.get(f"manifests/{reference}")
        assert reply.status in (400, 404), reference
        assert error_code(reply.body) in ("DIGEST_INVALID", "MANIFEST_UNKNOWN"), reference
    assert site.asked() == 0


async def test_pull_name_grammar(site: Site) -> None:
    digest = content.image(seed="name").digest
    for name in ("a", "0", "a.b", "a_b", "a__b", "a---b", "a/b/c/d", "a.b_c__d-e/f0"):
        named = site.with_repository(f"owner/{name}")
        named.add(content.image(seed="name"))
        assert (await named.get(f"manifests/{digest}")).status == 200, name
    for name in ("A", "a.", "-a", "a..b", "a___b", "a._b", "a/-b", "a/b_", "a//b", "a/", "%c3%a4", "a%20b", "a\\b"):
        answer = await ask(site.mirror, f"/v2/{name}/manifests/{digest}")
        assert (answer.head.status, error_code(answer.body)) == (400, "NAME_INVALID"), name


async def test_pull_tag_grammar(site: Site) -> None:
    for tag in ("a", "_", "0.1-RC_2", "A" * 128):
        digest = site.add(content.image(seed=tag), tag)
        reply = await site.get(f"manifests/{tag}")
        assert (reply.status, reply.headers["docker-content-digest"]) == (200, digest)
    asked = site.asked()
    for tag in ("A" * 129, ".a", "-a", "a~b", "a,b"):
        reply = await site.get(f"manifests/{tag}")
        assert (reply.status, error_code(reply.body)) == (404, "MANIFEST_UNKNOWN"), tag
    assert site.asked() == asked


async def test_pull_content_type_has_no_parameters(site: Site) -> None:
    image = content.image(seed="parameters")
    lent = content.FakeManifest(image.digest, f"{OCI_MANIFEST}; charset=utf-8", image.manifest.data)
    site.add(image, "1.0")
    site.registry.repositories[site.repository].manifests[image.digest] = lent
    for reference in ("1.0", image.digest):
        assert (await site.get(f"manifests/{reference}")).headers["content-type"] == OCI_MANIFEST


async def test_pull_content_type_as_pushed(site: Site) -> None:
    images: list[FakeImage | FakeIndex] = [content.image(), content.image(docker=True)]
    images += [content.index(), content.index(docker=True)]
    for number, pushed in enumerate(images):
        site.add(pushed, f"v{number}")
        for reference in (f"v{number}", pushed.digest):
            for method in ("GET", "HEAD"):
                reply = await site.get(f"manifests/{reference}", method)
                assert reply.headers["content-type"] == pushed.manifest.media_type


async def test_pull_manifest_is_the_expected_one(site: Site) -> None:
    image = content.image(seed="expected")
    site.add(content.image(seed="another"), "other")
    site.add(image, "1.0")
    for reference in ("1.0", image.digest):
        for _ in ("cold", "warm"):
            assert (await site.get(f"manifests/{reference}")).body == image.manifest.data


async def test_pull_manifest_is_200(site: Site) -> None:
    digest = site.add(content.index(content.image(seed="200")), "1.0")
    for reference in ("1.0", digest):
        for _ in ("cold", "warm"):
            assert (await site.get(f"manifests/{reference}")).status == 200


async def test_pull_manifest_tells_its_digest(site: Site) -> None:
    digest = site.add(content.image(seed="tells"), "1.0")
    site.spoil("*", lambda answer: answer.with_header("Docker-Content-Digest", None))
    for reference in ("1.0", digest):
        for method in ("GET", "HEAD"):
            assert (await site.get(f"manifests/{reference}", method)).headers["docker-content-digest"] == digest


async def test_pull_unknown_manifest_is_404(site: Site) -> None:
    site.add(content.image(seed="known"), "known")
    for reference in ("unknown", ABSENT):
        reply = await site.get(f"manifests/{reference}")
        assert (reply.status, error_code(reply.body)) == (404, "MANIFEST_UNKNOWN")


async def test_pull_unknown_repository_is_404(site: Site) -> None:
    for path in ("manifests/latest", f"manifests/{ABSENT}", f"blobs/{ABSENT}"):
        reply = await site.get(path)
        assert reply.status == 404
        assert error_code(reply.body) in ("MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NAME_UNKNOWN")


async def test_pull_manifest_of_4_megabytes(site: Site) -> None:
    document: dict[str, object] = {"mediaType": OCI_INDEX, "manifests": [], "annotations": {"x": ""}}
    room = 4_000_000 - content.manifest(document, OCI_INDEX).size
    large = content.manifest(document | {"annotations": {"x": "x" * room}}, OCI_INDEX)
    assert large.size == 4_000_000
    site.add(large, "1.0")
    assert (await site.get("manifests/1.0")).body == large.data


async def test_pull_manifest_keeps_its_bytes(site: Site) -> None:
    data = b'\r\n{ "layers":[ ],\t"mediaType" :"%s", "x":"\\u00e4\\/", "x":1e400}\n\n' % OCI_MANIFEST.encode()
    digest = site.add(content.FakeManifest(content.digest_of(data), OCI_MANIFEST, data), "1.0")
    for reference in ("1.0", digest, "1.0"):
        assert (await site.get(f"manifests/{reference}")).body == data


# Pulling blobs. ------------------------------------------------------------------------------------------


async def test_blob_is_the_expected_one(site: Site) -> None:
    for algorithm in ("sha256", "sha512"):
        blob = content.blob(100_000, "expected", algorithm)
        site.add(blob)
        for _ in ("cold", "warm"):
            assert (await site.get(f"blobs/{blob.digest}")).body == blob.data


async def test_blob_is_200(site: Site) -> None:
    for size in (0, 1, 2_000_000):
        digest = site.add(content.blob(size, f"200 of {size}"))
        for _ in ("cold", "warm"):
            reply = await site.get(f"blobs/{digest}")
            assert (reply.status, reply.headers["content-length"]) == (200, str(size))


async def test_blob_tells_its_digest(site: Site) -> None:
    digest = site.add(content.blob(1000, "tells"))
    site.spoil("*", lambda answer: answer.with_header("Docker-Content-Digest", None))
    for method in ("HEAD", "GET", "HEAD"):
        assert (await site.get(f"blobs/{digest}", method)).headers["docker-content-digest"] == digest


async def test_blob_told_digest_is_right(site: Site) -> None:
    digest = site.add(content.blob(1000, "right"))
    site.spoil("*", lambda answer: answer.with_header("Docker-Content-Digest", ABSENT))
    for _ in ("cold", "warm"):
        reply = await site.get(f"blobs/{digest}")
        assert reply.headers["docker-content-digest"] == content.digest_of(reply.body) == digest


async def test_blob_unknown_is_404(site: Site) -> None:
    elsewhere = content.blob(1000, "elsewhere")
    other = site.with_repository(f"{site.repository}/other")
    other.add(elsewhere)
    assert (await other.get(f"blobs/{elsewhere.digest}")).status == 200
    # Not even when another repository has it.
    for digest in (ABSENT, elsewhere.digest):
        reply = await site.get(f"blobs/{digest}")
        assert (reply.status, error_code(reply.body)) == (404, "BLOB_UNKNOWN")


async def test_blob_ranges(site: Site) -> None:
    blob = content.blob(100_000, "ranges")
    site.add(blob)
    parts = {"bytes=0-9": slice(0, 10), "bytes=99990-": slice(99_990, None), "bytes=-5": slice(99_995, None)}
    for wanted, part in parts.items():
        reply = await site.get(f"blobs/{blob.digest}", Range=wanted)
        first, last, _ = part.indices(blob.size)
        assert (reply.status, reply.body) == (206, blob.data[part])
        assert reply.headers["content-range"] == f"bytes {first}-{last - 1}/{blob.size}"
    reply = await site.get(f"blobs/{blob.digest}", Range="bytes=100000-")
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */100000")
    assert (await site.get(f"blobs/{blob.digest}", Range="lines=1-2")).body == blob.data
    assert (await site.head(f"blobs/{blob.digest}")).headers["accept-ranges"] == "bytes"


# Checking if content exists in the registry. -------------------------------------------------------------


def paths(image: FakeImage) -> dict[str, tuple[str, int]]:
    """What of an image can be asked for, with digest and size."""
    manifest = (image.digest, image.manifest.size)
    blobs = {f"blobs/{blob.digest}": (blob.digest, blob.size) for blob in image.blobs}
    return {"manifests/1.0": manifest, f"manifests/{image.digest}": manifest, **blobs}


async def test_head_existing_is_200(site: Site) -> None:
    image = content.image(layers=1, seed="head is 200")
    site.add(image, "1.0")
    for path in paths(image):
        for method in ("HEAD", "GET", "HEAD"):
            assert (await site.get(path, method)).status == 200


async def test_head_tells_the_digest(site: Site) -> None:
    image = content.image(layers=1, seed="head tells the digest")
    site.add(image, "1.0")
    for path, (digest, _) in paths(image).items():
        for method in ("HEAD", "GET", "HEAD"):
            assert (await site.get(path, method)).headers["docker-content-digest"] == digest


async def test_head_tells_the_size(site: Site) -> None:
    image = content.image(layers=1, seed="head tells the size")
    site.add(image, "1.0")
    for path, (_, size) in paths(image).items():
        for method in ("HEAD", "GET", "HEAD"):
            reply = await site.get(path, method)
            assert reply.headers["content-length"] == str(size)
            assert len(reply.body) == (size if method == "GET" else 0)


async def test_head_unknown_is_404(site: Site) -> None:
    site.add(content.image(seed="head of the known"), "1.0")
    for path in ("manifests/unknown", f"manifests/{ABSENT}", f"blobs/{ABSENT}"):
        reply = await site.head(path)
        assert (reply.status, reply.body) == (404, b"")
