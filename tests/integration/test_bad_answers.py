"""An upstream that answers nonsense: a clean error or a cut body, and nothing of it kept or passed on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import aiohttp
import pytest

from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import ask, check_cache_status, error_code
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.waiting import until

CANARY = "canary-of-the-upstream"
SMALL = content.blob(4096, "small")
LARGE = content.blob(3 * 1024 * 1024, "large")
IMAGE = content.image(layers=1)
TAG = "/v2/owner/app/manifests/1.0"
DIGEST = f"/v2/owner/app/manifests/{IMAGE.digest}"
SMALL_BLOB = f"/v2/owner/app/blobs/{SMALL.digest}"
LARGE_BLOB = f"/v2/owner/app/blobs/{LARGE.digest}"


@pytest.fixture(autouse=True)
def upstream(forgetful: None, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with an image and two blobs, which is asked again with every request."""
    registry.add_image("owner/app", "1.0", IMAGE)
    registry.put_blob("owner/app", SMALL)
    registry.put_blob("owner/app", LARGE)
    monkeypatch.setattr("mirror.proxy.fills.retry.FIRST_PAUSE", 0.002)


@pytest.fixture(autouse=True)
def no_bug(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever upstream sends, the log tells of no bug in the mirror and repeats nothing."""
    yield
    written = "".join(capfd.readouterr())
    assert "Traceback" not in written
    assert "bug" not in written
    assert CANARY not in written


def document(**fields: object) -> content.FakeManifest:
    """A document under the digest that it has, served as a manifest."""
    return content.manifest(fields, content.OCI_MANIFEST)


def head(raw: str) -> Fault:
    """An answer that begins like this and has a body of two bytes."""
    return faults.raw(f"HTTP/1.1 {raw}\r\nContent-Length: 2\r\n\r\n{{}}".encode("latin-1"))


def status_only(status: int) -> Fault:
    """A good answer under another status."""
    return lambda answer: replace(answer, status=status)


def chatty(answer: Answer) -> Answer:
    """An error whose words are the upstream's own."""
    body = json.dumps({"errors": [{"code": CANARY, "message": CANARY}]}).encode()
    return Answer(400, (("Content-Type", f"text/{CANARY}"), ("X-Canary", CANARY), ("Warning", CANARY)), body)


IN_GENERAL: dict[str, Fault] = {
    "a log-in page": faults.html,
    "no answer at all": faults.dropped,
    "another protocol": faults.raw(b"220 smtp.example.com ESMTP\r\n"),
    "binary": faults.raw(bytes(range(256)) * 20),
    "no status": head("OK"),
    "status 0": head("000 What"),
    "status 99": head("99 What"),
    "status 999": head("999 What"),
    "status 1000": head("1000 What"),
    "status 201": status_only(201),
    "status 202": status_only(202),
    "status 206": status_only(206),
    "status 304": status_only(304),
    "status 400": chatty,
    "status 410": faults.status(410),
    "status 416": faults.status(416),
    "status 451": faults.status(451),
    "status 500": faults.status(500),
    "status 599": faults.status(599),
    "compressed": faults.gzip_encoded,
    "an unknown encoding": faults.header("Content-Encoding", "br"),
    "two lengths": faults.repeated_header("Content-Length", "5"),
    "length and chunks": faults.repeated_header("Transfer-Encoding", "chunked"),
    "a length that is none": head("200 OK\r\nContent-Length: x"),
    "a negative length": head("200 OK\r\nContent-Length: -5"),
    "a header of 100 KB": faults.header("X-Large", "x" * 100_000),
    "2000 headers": head("200 OK" + "".join(f"\r\nX-{number}: 1" for number in range(20_000))),
    "a NUL in a header": head("200 OK\r\nX: a\0b"),
    "no colon in a header": head("200 OK\r\nnonsense"),
    "a status line of 100 KB": head("200 " + "x" * 100_000),
    "another protocol from here on": head("101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket"),
    "another version": faults.raw(b"HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "a chunk longer than any": head("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + "F" * 60),
    "a chunk of less than nothing": head("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2"),
    "a thousand answers before the answer": faults.raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    "an endless header": faults.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 4_000_000),
}


async def test_a_bad_answer_is_an_error_and_nothing_is_kept(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    for name, fault in IN_GENERAL.items():
        registry.always("/v2/*", fault)
        for path, method in product((TAG, DIGEST, SMALL_BLOB), ("GET", "HEAD")):
            response, body = await mirror.get(path, method)
            if (path, method, response.status) == (SMALL_BLOB, "HEAD", 200):
                # A HEAD tells a size; what is wrong with the rest shows when it is fetched.
                continue
            assert response.status == 502, (name, path, method)
            assert method == "HEAD" or error_code(body) == "UNAVAILABLE"
            assert CANARY not in f"{body!r}{response.headers}"
            check_cache_status(response.headers["Cache-Status"])
        registry.heal()
    assert not cache_folder.digests()
    await until(lambda: not cache_folder.partials(), "the partial files are gone")
    for path, data in ((TAG, IMAGE.manifest.data), (DIGEST, IMAGE.manifest.data), (SMALL_BLOB, SMALL.data)):
        response, body = await mirror.get(path)
        assert (response.status, body) == (200, data)


OF_MANIFESTS: dict[str, Fault] = {
    "a flipped byte": faults.wrong_bytes(),
    "another manifest": faults.other_body(content.image(seed="other").manifest.data),
    "nothing": faults.other_body(b""),
    "half of it": faults.truncated(50),
    "cut": faults.cut_at(50),
    "ended early": faults.short_body(50),
    "more declared than sent": faults.declared_length(100_000),
    "less declared than sent": faults.declared_length(50),
    "an HTML type": faults.content_type("text/html"),
    "an image": faults.content_type("image/png"),
    "another known type": faults.content_type(content.DOCKER_MANIFEST),
    "an index by its type": faults.content_type(content.OCI_INDEX),
    "an unknown type": faults.content_type("application/vnd.example.manifest.v1+json"),
    "a config's type": faults.content_type(content.OCI_CONFIG),
}
DOCUMENTS = {
    "layers and manifests": document(schemaVersion=2, layers=[], manifests=[]),
    "fsLayers and manifests": document(schemaVersion=1, fsLayers=[], manifests=[]),
    "another mediaType": document(mediaType=content.DOCKER_MANIFEST, layers=[]),
    "a mediaType that is no text": document(mediaType=5, layers=[]),
    "a mediaType that is a list": document(mediaType=[content.OCI_MANIFEST], layers=[]),
    "an object as mediaType": document(mediaType={}, layers=[]),
}


async def test_a_bad_manifest_is_502_and_is_not_kept(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    for name, fault in OF_MANIFESTS.items():
        registry.always("/v2/*/manifests/*", fault, method="GET")
        for path in (TAG, DIGEST):
            response, body = await mirror.get(path)
            assert (response.status, error_code(body)) == (502, "UNAVAILABLE"), name
        # The same where the tag is fetched as a tag, because the HEAD does not tell the digest.
        registry.always(TAG, faults.content_digest(None), method="HEAD")
        response, body = await mirror.get(TAG)
        assert (response.status, error_code(body)) == (502, "UNAVAILABLE"), name
        registry.heal()
    assert not cache_folder.digests()


async def test_a_document_that_is_no_manifest_is_502_and_is_not_kept(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    for name, manifest in DOCUMENTS.items():
        registry.put_manifest("owner/app", manifest, "2.0")
        for reference in ("2.0", manifest.digest):
            response, body = await mirror.get(f"/v2/owner/app/manifests/{reference}")
            assert (response.status, error_code(body)) == (502, "UNAVAILABLE"), name
    assert not cache_folder.digests()


NOT_OBJECTS = (b"manifest", b"[]", b"null", b"5", b'"text"', b"{", b"[" * 100_000, b'{"a":' * 50_000)


async def test_what_is_no_json_object_is_502_and_is_not_kept(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    for data in NOT_OBJECTS:
        manifest = content.FakeManifest(content.digest_of(data), content.OCI_MANIFEST, data)
        registry.put_manifest("owner/app", manifest, "2.0")
        for reference in ("2.0", manifest.digest):
            response, body = await mirror.get(f"/v2/owner/app/manifests/{reference}")
            assert (response.status, error_code(body)) == (502, "UNAVAILABLE"), data[:20]
    assert not cache_folder.digests()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
async def test_json_in_another_encoding_than_utf_8_is_502(
    mirror: RunningMirror, registry: FakeRegistry, encoding: str
) -> None:
    data = IMAGE.manifest.data.decode().encode(encoding)
    manifest = content.FakeManifest(content.digest_of(data), content.OCI_MANIFEST, data)
    registry.put_manifest("owner/app", manifest, "2.0")
    response, body = await mirror.get("/v2/owner/app/manifests/2.0")
    assert (response.status, error_code(body)) == (502, "UNAVAILABLE")


async def test_a_vague_type_and_a_document_that_does_not_say_is_502(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    manifest = content.manifest({"schemaVersion": 2, "layers": []}, content.OCI_MANIFEST)
    registry.put_manifest("owner/app", manifest, "2.0")
    for header in ("text/plain", "application/json", "application/octet-stream", "nonsense", None):
        registry.always("/v2/*", faults.content_type(header))
        response, body = await mirror.get("/v2/owner/app/manifests/2.0")
        assert (response.status, error_code(body)) == (502, "UNAVAILABLE"), header
        registry.heal()
    assert not cache_folder.digests()


async def test_a_tag_whose_declared_digest_is_another_is_502(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    other = content.digest_of(b"other")
    registry.absent(f"/v2/owner/app/manifests/{other}")
    registry.always(TAG, faults.content_digest(other))
    response, body = await mirror.get(TAG)
    assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
    # And where there is no HEAD to begin with.
    registry.always(TAG, faults.status(405), method="HEAD")
    response, body = await mirror.get(TAG)
    assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
    assert not cache_folder.digests()


async def test_a_wrong_digest_is_counted(mirror: RunningMirror, registry: FakeRegistry) -> None:
    series = 'mirror_digest_mismatches_total{upstream="docker.io"}'
    registry.always("/v2/*", faults.wrong_bytes(), method="GET")
    assert await mirror.metric(series) == 0
    await mirror.get(DIGEST)
    assert await mirror.metric(series) == 1
    await mirror.get(SMALL_BLOB)
    # Nobody had a byte of it, so it was fetched once more.
    assert await mirror.metric(series) == 3


async def test_a_tag_that_was_good_is_stale_whatever_comes(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        assert (await mirror.get(TAG))[0].status == 200
        registry.move_tag("owner/app", "1.0", content.image(layers=1, seed="next"))
        for name, fault in {**IN_GENERAL, **OF_MANIFESTS}.items():
            registry.always("/v2/*", fault, method=None if name in IN_GENERAL else "GET")
            response, body = await mirror.get(TAG)
            assert (response.status, body) == (200, IMAGE.manifest.data), name
            assert "fwd=stale" in response.headers["Cache-Status"], name
            registry.heal()


# Blobs. --------------------------------------------------------------------------------------------------

OF_BLOBS: dict[str, Fault] = {
    "a flipped byte": faults.wrong_bytes(),
    "the last byte flipped": faults.wrong_bytes(-1),
    "shorter": faults.truncated(100),
    "nothing": faults.other_body(b""),
    "longer": faults.other_body(SMALL.data + b"x"),
    "longer, without length": faults.both(faults.other_body(SMALL.data + b"x"), faults.chunked),
    "wrong, without length": faults.both(faults.wrong_bytes(), faults.chunked),
    "wrong, until the connection ends": faults.both(faults.wrong_bytes(), faults.until_close),
}


@pytest.mark.parametrize("fault", OF_BLOBS.values(), ids=OF_BLOBS.keys())
async def test_a_small_blob_that_is_wrong_is_a_clean_502(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder, fault: Fault
) -> None:
    registry.always(SMALL_BLOB, fault, method="GET")
    answer = await ask(mirror, SMALL_BLOB)
    if "chunked" in answer.head.headers.get("transfer-encoding", ""):
        assert not answer.whole
    else:
        assert (answer.head.status, error_code(answer.body)) == (502, "UNAVAILABLE")
    assert not cache_folder.digests()
    await until(lambda: not cache_folder.partials(), "the partial file is gone")
    registry.heal()
    answer = await ask(mirror, SMALL_BLOB)
    assert (answer.head.status, answer.body) == (200, SMALL.data)


@pytest.mark.parametrize(
    "fault", [faults.wrong_bytes(), faults.wrong_bytes(0), faults.wrong_bytes(-1), faults.short_body(100_000)]
)
async def test_a_large_blob_that_is_wrong_is_never_complete(
    mirror: RunningMirror, registry: FakeRegistry, cache_folder: CacheFolder, fault: Fault
) -> None:
    registry.always(LARGE_BLOB, fault, method="GET")
    with pytest.raises(aiohttp.ClientPayloadError):
        await mirror.get(LARGE_BLOB)
    assert LARGE.digest not in cache_folder.digests()
    registry.heal()
    response, body = await mirror.get(LARGE_BLOB)
    assert (response.status, body) == (200, LARGE.data)


# Others are not harmed. ----------------------------------------------------------------------------------


async def test_a_bad_answer_in_one_place_is_nobody_elses_trouble(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.auth = TokenAuth(token_service)
    registry.add_image("owner/good", "1.0", content.image(layers=1, seed="good"))
    registry.always("/v2/owner/app/*", faults.raw(bytes(range(256))))
    for _ in range(3):
        response, _ = await mirror.get(TAG)
        assert response.status == 502
        response, _ = await mirror.get("/v2/owner/good/manifests/1.0")
        assert response.status == 200
    assert journal.count(host="tokens") == 2


async def test_nothing_of_the_answer_of_an_upstream_is_passed_on_but_its_content(
    mirror: RunningMirror, registry: FakeRegistry
) -> None:
    registry.headers = {
        "Set-Cookie": f"a={CANARY}",
        "X-Canary": CANARY,
        "Server": CANARY,
        "Via": CANARY,
        "Link": f"<http://{CANARY}/>",
        "Cache-Control": CANARY,
        "Cache-Status": CANARY,
        "Vary": CANARY,
        "Location": f"http://{CANARY}/",
        "WWW-Authenticate": CANARY,
        "OCI-Subject": CANARY,
    }
    registry.always("/v2/*", faults.header("ETag", CANARY))
    for path in (TAG, DIGEST, SMALL_BLOB):
        for method in ("GET", "HEAD"):
            response, _ = await mirror.get(path, method)
            assert response.status == 200
            assert CANARY not in str(response.headers)
