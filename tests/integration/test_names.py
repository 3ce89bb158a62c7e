"""Names: which upstream and repository a request means, and what is refused before anyone is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product

import pytest

from mirror import __version__
from tests.fakes import content
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Entry, Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import ask, check_cache_status, refusal, refusals, send
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.raw_http import raw_client

IMAGE = content.image(layers=1)
DIGEST = IMAGE.digest
LAYER = IMAGE.layers[0].digest
HEX = "a" * 64
NAMES = {"registry": "docker.io", "other": "ghcr.io", "third": "localhost%3A5000"}


@pytest.fixture
async def registries(
    registry: FakeRegistry, other_registry: FakeRegistry, journal: Journal
) -> AsyncIterator[dict[str, FakeRegistry]]:
    """Three registries under their names in the journal: for docker.io, for ghcr.io and for localhost:5000."""
    async with FakeRegistry(journal, name="third") as third:
        yield {"registry": registry, "other": other_registry, "third": third}


@pytest.fixture
async def site(
    registries: dict[str, FakeRegistry], token_service: FakeTokenService, start_mirror: StartMirror
) -> AsyncIterator[RunningMirror]:
    """A mirror of these three; ghcr.io has an alias and a Host of its own."""
    hub, other, third = (docker_io(held, token_service) for held in registries.values())
    names = {"aliases": ["ghcr.example"], "hosts": ["ghcr.mirror.test"]}
    upstreams = {"docker.io": hub, "ghcr.io": other | names, "localhost:5000": third}
    async with start_mirror(upstreams=upstreams) as running:
        yield running


# Which upstream. -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """A name as a client gives it, with query and Host header, and where it leads."""

    name: str
    query: str
    host: str
    upstream: str
    repository: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name + self.query, self.host)))


ROUTES = [
    # The default, with what Docker Hub is special for.
    Way("owner/app", "", "", "registry", "owner/app"),
    Way("alpine", "", "", "registry", "library/alpine"),
    Way("library/alpine", "", "", "registry", "library/alpine"),
    Way("a/b/c/d", "", "", "registry", "a/b/c/d"),
    # A path prefix that looks like a registry.
    Way("docker.io/alpine", "", "", "registry", "library/alpine"),
    Way("index.docker.io/library/alpine", "", "", "registry", "library/alpine"),
    Way("registry-1.docker.io/owner/app", "", "", "registry", "owner/app"),
    Way("ghcr.io/owner/app", "", "", "other", "owner/app"),
    Way("ghcr.io/app", "", "", "other", "app"),
    Way("ghcr.example/owner/app", "", "", "other", "owner/app"),
    Way("localhost:5000/app", "", "", "third", "app"),
    # ?ns=, which counts more than all else.
    Way("alpine", "?ns=docker.io", "", "registry", "library/alpine"),
    Way("alpine", "?ns=index.docker.io", "", "registry", "library/alpine"),
    Way("app", "?ns=ghcr.io", "", "other", "app"),
    Way("app", "?ns=ghcr.example", "", "other", "app"),
    Way("app", "?ns=GHCR.io", "", "other", "app"),
    Way("app", "?other=1&ns=ghcr.io", "", "other", "app"),
    Way("app", "?ns=localhost:5000", "", "third", "app"),
    Way("app", "?ns=localhost%3A5000", "", "third", "app"),
    Way("app", "?ns=localhost%3a5000", "", "third", "app"),
    Way("owner/app", "?ns=docker.io", "ghcr.mirror.test", "registry", "owner/app"),
    Way("ghcr.io/app", "?ns=docker.io", "", "registry", "ghcr.io/app"),
    # A Host header that means an upstream, which counts more than the path.
    Way("app", "", "ghcr.mirror.test", "other", "app"),
    Way("app", "", "ghcr.mirror.test:5000", "other", "app"),
    Way("app", "", "GHCR.Mirror.Test", "other", "app"),
    Way("docker.io/app", "", "ghcr.mirror.test", "other", "docker.io/app"),
]


async def test_a_request_goes_to_the_upstream_and_repository_it_means(
    site: RunningMirror, registries: dict[str, FakeRegistry], journal: Journal
) -> None:
    for number, way in enumerate(ROUTES):
        tag = f"v{number}"
        image = content.image(layers=1, seed=way)
        layer = image.layers[0]
        registries[way.upstream].add_image(way.repository, tag, image)
        headers = {"Host": way.host} if way.host else {}

        manifest = await ask(site, f"/v2/{way.name}/manifests/{tag}{way.query}", **headers)
        blob = await ask(site, f"/v2/{way.name}/blobs/{layer.digest}{way.query}", **headers)

        assert (manifest.head.status, manifest.body) == (200, image.manifest.data), way
        assert (blob.head.status, blob.body) == (200, layer.data), way
        assert [f"{entry.host} {entry.method} {entry.path}" for entry in journal.entries] == [
            f"{way.upstream} HEAD /v2/{way.repository}/manifests/{tag}",
            f"{way.upstream} GET /v2/{way.repository}/manifests/{image.digest}",
            f"{way.upstream} GET /v2/{way.repository}/blobs/{layer.digest}",
        ], way
        # However a client says which registry it means, upstream hears its name.
        assert {entry.query for entry in journal.entries} == {f"ns={NAMES[way.upstream]}"}, way
        journal.clear()


UNKNOWN_REGISTRIES = [
    "/v2/app/manifests/1.0?ns=quay.io",
    "/v2/app/manifests/1.0?ns=",
    "/v2/app/manifests/1.0?ns",
    "/v2/app/manifests/1.0?ns=docker.io.example.com",
    "/v2/app/manifests/1.0?ns=https://docker.io",
    "/v2/app/manifests/1.0?ns=docker.io/",
    "/v2/app/manifests/1.0?ns=docker.io%00",
    "/v2/app/manifests/1.0?ns=docker.io%0d%0aX-Evil:%201",
    "/v2/app/manifests/1.0?ns=127.0.0.1",
    "/v2/app/manifests/1.0?ns=localhost",
    "/v2/app/manifests/1.0?ns=localhost:5001",
    "/v2/app/manifests/1.0?ns=docker.io&ns=docker.io",
    "/v2/app/manifests/1.0?ns=docker.io&ns=ghcr.io",
    "/v2/app/manifests/1.0?ns=ghcr.io&ns=quay.io",
    f"/v2/app/blobs/sha256:{HEX}?ns=quay.io",
    f"/v2/app/blobs/sha256:{HEX}?ns=docker.io&ns=docker.io",
    "/v2/quay.io/owner/app/manifests/1.0",
    "/v2/quay.io:443/owner/app/manifests/1.0",
    "/v2/localhost/owner/app/manifests/1.0",
    "/v2/localhost:5001/app/manifests/1.0",
    "/v2/127.0.0.1/app/manifests/1.0",
    "/v2/169.254.169.254/latest/manifests/1.0",
    f"/v2/quay.io/owner/app/blobs/sha256:{HEX}",
]


async def test_an_unknown_registry_is_404_and_nobody_is_asked(site: RunningMirror, journal: Journal) -> None:
    assert await refusals(site, UNKNOWN_REGISTRIES) == dict.fromkeys(UNKNOWN_REGISTRIES, (404, "NAME_UNKNOWN"))
    for target in UNKNOWN_REGISTRIES:
        head = (await ask(site, target, "HEAD")).head
        assert head.status == 404
        assert not {"x-evil", "oci-namespace"} & head.headers.keys()
    assert not journal.entries


async def test_the_address_of_an_upstream_is_not_its_name(
    site: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    assert refusal(await ask(site, f"/v2/app/manifests/1.0?ns={registry.host}")) == (404, "NAME_UNKNOWN")
    assert refusal(await ask(site, f"/v2/{registry.host}/app/manifests/1.0")) == (404, "NAME_UNKNOWN")
    assert not journal.entries


async def test_an_unknown_registry_gets_nothing_of_what_another_has_cached(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    assert (await ask(mirror, "/v2/owner/app/manifests/1.0")).head.status == 200
    journal.clear()
    assert refusal(await ask(mirror, "/v2/owner/app/manifests/1.0?ns=ghcr.io")) == (404, "NAME_UNKNOWN")
    assert refusal(await ask(mirror, f"/v2/owner/app/manifests/{DIGEST}?ns=ghcr.io")) == (404, "NAME_UNKNOWN")
    assert not journal.entries


async def test_the_same_name_in_two_registries_is_two_images(
    site: RunningMirror, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    theirs = content.image(layers=1, seed="theirs")
    registry.add_image("owner/app", "1.0", IMAGE)
    other_registry.add_image("owner/app", "1.0", theirs)
    for _ in range(2):
        assert (await ask(site, "/v2/owner/app/manifests/1.0")).body == IMAGE.manifest.data
        assert (await ask(site, "/v2/owner/app/manifests/1.0?ns=ghcr.io")).body == theirs.manifest.data


async def test_a_default_upstream_other_than_docker_hub_gets_names_as_they_are(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    registry.add_image("app", "1.0", IMAGE)
    upstreams = {"registry.example.com": docker_io(registry, token_service)}
    async with start_mirror(upstreams=upstreams, default_upstream="registry.example.com") as running:
        assert (await ask(running, "/v2/app/manifests/1.0")).body == IMAGE.manifest.data
    assert journal.paths() == ["HEAD /v2/app/manifests/1.0", f"GET /v2/app/manifests/{DIGEST}"]


# OCI-Namespace. ------------------------------------------------------------------------------------------


async def test_an_answer_to_ns_names_the_namespace(
    site: RunningMirror, registry: FakeRegistry, other_registry: FakeRegistry
) -> None:
    registry.add_image("library/alpine", "1.0", IMAGE)
    other_registry.absent("*")
    for namespace in ("docker.io", "index.docker.io"):
        for path in ("manifests/1.0", f"manifests/{DIGEST}", f"blobs/{LAYER}"):
            for method in ("GET", "HEAD"):
                answer = await ask(site, f"/v2/alpine/{path}?ns={namespace}", method)
                assert answer.head.headers["oci-namespace"] == namespace
                plain = await ask(site, f"/v2/alpine/{path}", method)
                assert "oci-namespace" not in plain.head.headers
    missing = await ask(site, "/v2/app/manifests/1.0?ns=ghcr.io")
    assert refusal(missing) == (404, "MANIFEST_UNKNOWN")
    assert missing.head.headers["oci-namespace"] == "ghcr.io"


# Malformed names, tags and digests. ----------------------------------------------------------------------

INVALID_NAMES = [
    "Alpine",
    "owner/App",
    "owner//app",
    "/owner/app",
    "owner/app/",
    "",
    "-app",
    "app-",
    ".app",
    "app.",
    "_app",
    "a..b",
    "a___b",
    "a._b",
    "..",
    "../etc",
    "owner/../app",
    "owner/./app",
    "owner/..",
    "owner%2Fapp",
    "%61lpine",
    "owner/app%00",
    "owner%5capp",
    "owner\\app",
    "owner/app;x",
    "owner/app@x",
    "owner/app:x",
    "owner/a*",
    "a" * 256,
    "/".join(["a"] * 200),
    "ghcr.io/App",
    "ghcr.io/",
    "ghcr.io//app",
    "ghcr.io/../app",
]


@pytest.mark.parametrize(
    "rest", ["manifests/1.0", f"manifests/{DIGEST}", f"blobs/{LAYER}", "manifests/1.0?ns=docker.io"]
)
async def test_an_invalid_name_is_refused_and_nobody_is_asked(site: RunningMirror, journal: Journal, rest: str) -> None:
    targets = [f"/v2/{name}/{rest}" for name in INVALID_NAMES]
    assert await refusals(site, targets) == dict.fromkeys(targets, (400, "NAME_INVALID"))
    assert not journal.entries


async def test_special_characters_are_refused_and_nobody_is_asked(site: RunningMirror, journal: Journal) -> None:
    patterns = ("/v2/owner/{}/manifests/1.0", "/v2/owner/app/manifests/{}", "/v2/owner/app/blobs/{}")
    odd = ("caf\xe9", "\xff\xfe", "\x7f", "\x01", "\t")
    answers = await refusals(site, [pattern.format(name) for pattern in patterns for name in odd])
    assert {status for status, _ in answers.values()} == {400}
    assert not journal.entries


async def test_the_longest_name_there_is(site: RunningMirror, registry: FakeRegistry, journal: Journal) -> None:
    longest = "owner/" + "a" * 249
    registry.add_image(longest, "1.0", IMAGE)
    assert (await ask(site, f"/v2/{longest}/manifests/1.0")).head.status == 200
    journal.clear()
    assert refusal(await ask(site, f"/v2/{longest}a/manifests/1.0")) == (400, "NAME_INVALID")
    assert not journal.entries


INVALID_TAGS = [
    "",
    "-x",
    ".x",
    ".",
    "..",
    "a" * 129,
    "a+b",
    "a%20b",
    "%2e%2e",
    "1.0%00",
    "a@b",
    "a*",
    "latest\\",
]


async def test_an_invalid_tag_is_refused_and_nobody_is_asked(site: RunningMirror, journal: Journal) -> None:
    answers = await refusals(site, [f"/v2/owner/app/manifests/{tag}" for tag in INVALID_TAGS])
    assert set(answers.values()) <= {(400, "NAME_INVALID"), (404, "MANIFEST_UNKNOWN")}
    assert not journal.entries


async def test_odd_tags_are_tags(mirror: RunningMirror, registry: FakeRegistry) -> None:
    for tag in ("a" * 128, "_", "_.-", "1.0", "Latest", f"sha256-{HEX}.sig"):
        registry.add_image("owner/app", tag, IMAGE)
        assert (await ask(mirror, f"/v2/owner/app/manifests/{tag}")).body == IMAGE.manifest.data, tag


INVALID_DIGESTS = [
    "sha256:",
    "sha256:" + "a" * 63,
    "sha256:" + "a" * 65,
    "sha256:" + "A" * 64,
    "sha256:" + "g" * 64,
    "sha256:" + "a" * 128,
    "sha512:" + "a" * 64,
    "sha512:" + "a" * 127,
    "SHA256:" + HEX,
    "sha1:" + "a" * 40,
    "md5:" + "a" * 32,
    "blake3:" + HEX,
    "sha256:sha256:" + HEX,
    ":" + HEX,
    "sha256::" + HEX,
    f"sha256:{HEX}:",
    "sha256:" + "a" * 5000,
    "sha256+b64:" + HEX,
]


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
async def test_an_invalid_digest_is_refused_and_nobody_is_asked(
    site: RunningMirror, journal: Journal, kind: str
) -> None:
    targets = [f"/v2/owner/app/{kind}/{digest}" for digest in INVALID_DIGESTS]
    assert await refusals(site, targets) == dict.fromkeys(targets, (400, "DIGEST_INVALID"))
    assert not journal.entries


async def test_what_is_no_digest_at_all_is_no_blob(site: RunningMirror, journal: Journal) -> None:
    digests = ("", "latest", HEX, "..", f"sha256%3A{HEX}", f"sha256:{HEX}%00", f"sha256:{HEX}/")
    answers = await refusals(site, [f"/v2/owner/app/blobs/{digest}" for digest in digests])
    assert {status for status, _ in answers.values()} <= {400, 404}
    assert not journal.entries


OTHER_PATHS = [
    "/",
    "/v1/",
    "/v3/owner/app/manifests/1.0",
    "/v2/owner",
    "/v2//",
    "/v2/owner/app",
    "/v2/owner/app/manifests",
    "/v2/manifests/1.0",
    "/v2/owner/app/layers/1.0",
    "/v2/owner/app/Manifests/1.0",
    "/v2/owner/app/blobs/uploads/",
    "/v2/owner/app/blobs/uploads/abc",
    "/v2/_catalog",
    "/v2/../v2/owner/app/manifests/1.0",
    "//v2/owner/app/manifests/1.0",
    "/V2/owner/app/manifests/1.0",
    "/%762/owner/app/manifests/1.0",
    "/v2%2Fowner/app/manifests/1.0",
    "/metrics",
    "/livez",
    "/readyz",
    "/healthz/",
    "/favicon.ico",
    "*",
    "http://[::1/",
]


async def test_any_other_path_is_refused_and_nobody_is_asked(site: RunningMirror, journal: Journal) -> None:
    answers = await refusals(site, OTHER_PATHS)
    assert {status for status, _ in answers.values()} <= {400, 404}
    assert not journal.entries


async def test_what_cannot_be_listed_is_refused_and_nobody_is_asked(mirror: RunningMirror, journal: Journal) -> None:
    expected = {
        "/v2/owner/App/tags/list": (400, "NAME_INVALID"),
        "/v2/owner/app/tags/list?n=-1": (400, "UNSUPPORTED"),
        "/v2/owner/app/tags/list?ns=quay.io": (404, "NAME_UNKNOWN"),
        "/v2/owner/app/tags/list?ns=docker.io&ns=docker.io": (404, "NAME_UNKNOWN"),
        "/v2/owner/app/tags/lists": (404, "UNSUPPORTED"),
        f"/v2/owner/App/referrers/{DIGEST}": (400, "NAME_INVALID"),
        "/v2/owner/app/referrers/latest": (400, "DIGEST_INVALID"),
        f"/v2/owner/app/referrers/{DIGEST}?ns=quay.io": (404, "NAME_UNKNOWN"),
        "/v2/owner/app/referrers/": (400, "DIGEST_INVALID"),
    }
    assert await refusals(mirror, expected) == expected
    assert not journal.entries


# What is not even a request. -----------------------------------------------------------------------------

LINE_LIMIT = 16 * 1024


async def test_an_overlong_path_is_refused(site: RunningMirror, journal: Journal) -> None:
    lengths = (8 * 1024, LINE_LIMIT - 100, LINE_LIMIT + 1, 64 * 1024)
    answers = await refusals(site, [f"/v2/{'a' * length}/manifests/1.0" for length in lengths])
    assert {status for status, _ in answers.values()} <= {400, 404, 414}
    assert not journal.entries


async def test_an_overlong_query_is_refused_or_ignored(site: RunningMirror, journal: Journal) -> None:
    status, _ = refusal(await ask(site, f"/v2/owner/App/manifests/1.0?x={'a' * 64 * 1024}"))
    assert status in {400, 414}
    assert not journal.entries


GARBAGE = {
    "nothing like it": b"hello\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c403034a") + b"\r\n\r\n",
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9": b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
    "a space in the path": b"GET /v2/a b/manifests/1.0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the path": b"GET /v2/a\0b/manifests/1.0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space before the colon": b"GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n",
    "no colon": b"GET /v2/ HTTP/1.1\r\nHost\r\n\r\n",
    "a NUL in a header": b"GET /v2/ HTTP/1.1\r\nHost: a\0b\r\n\r\n",
    "two lengths": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a header of 64 KiB": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 64 * 1024 + b"\r\n\r\n",
    "a method of 64 KiB": b"G" * 64 * 1024 + b" /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def test_what_is_not_http_is_400_and_the_end_of_the_connection(
    mirror: RunningMirror, journal: Journal, capfd: pytest.CaptureFixture[str]
) -> None:
    for what, data in GARBAGE.items():
        async with raw_client(mirror) as client:
            await client.send(data)
            assert refusal(await client.answer()) == (400, "UNSUPPORTED"), what
            assert await client.rest() == b"", what
    assert (await ask(mirror, "/v2/")).head.status == 200
    assert not journal.entries
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_message_about_a_malformed_request_repeats_nothing_of_it(mirror: RunningMirror) -> None:
    answer = await send(mirror, b"GET /v2/<script>canary</script> x HTTP/1.1\r\n\r\n")
    assert refusal(answer) == (400, "UNSUPPORTED")
    assert b"canary" not in answer.body


# Methods. ------------------------------------------------------------------------------------------------

METHODS = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE"]
ANY_PATH = [
    "/v2/",
    "/v2/owner/app/manifests/1.0",
    f"/v2/owner/app/manifests/{DIGEST}",
    f"/v2/owner/app/blobs/{LAYER}",
    "/v2/owner/app/blobs/uploads/",
    f"/v2/owner/app/blobs/uploads/?mount={LAYER}&from=other/app",
    "/v2/owner/app/tags/list",
    f"/v2/owner/app/referrers/{DIGEST}",
    "/v2/_catalog",
    "/v2/owner/app/manifests/1.0?ns=quay.io",
    "/v2/INVALID/manifests/1.0",
    "/healthz",
    "/",
]


async def test_only_get_and_head_are_allowed(mirror: RunningMirror, registry: FakeRegistry, journal: Journal) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    for method, target in product(METHODS, ANY_PATH):
        async with raw_client(mirror) as client:
            await client.ask(target, method)
            answer = await client.answer()
            assert refusal(answer) == (405, "UNSUPPORTED"), (method, target)
            assert answer.head.headers["allow"] == "GET, HEAD"
            assert answer.head.headers["connection"] == "close"
            assert await client.rest() == b"", (method, target)
    assert not journal.entries


async def test_connect_is_not_allowed(mirror: RunningMirror, registry: FakeRegistry, journal: Journal) -> None:
    async with raw_client(mirror) as client:
        await client.send(f"CONNECT {registry.host} HTTP/1.1\r\nHost: {registry.host}\r\n\r\n".encode())
        answer = await client.answer()
        assert refusal(answer)[0] in {400, 405}
        assert answer.head.headers["connection"] == "close"
        await client.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.rest() == b""
    assert not journal.entries


async def test_the_body_of_what_is_refused_is_not_waited_for(mirror: RunningMirror, journal: Journal) -> None:
    framings = ("Content-Length: 1000000000\r\n", "Transfer-Encoding: chunked\r\n")
    for framing, expect in product(framings, ("", "Expect: 100-continue\r\n")):
        head = f"PUT /v2/owner/app/manifests/1.0 HTTP/1.1\r\nHost: x\r\n{framing}{expect}\r\n"
        answer = await send(mirror, head.encode())
        assert refusal(answer) == (405, "UNSUPPORTED")
        assert answer.head.headers["connection"] == "close"
    assert not journal.entries


async def test_a_head_of_what_is_malformed_has_no_body(mirror: RunningMirror) -> None:
    async with raw_client(mirror) as client:
        await client.ask("/v2/INVALID/manifests/1.0", "HEAD")
        assert (await client.answer("HEAD")).head.status == 400
        # A body would stand where the next answer begins.
        await client.ask("/v2/")
        assert (await client.answer()).head.status == 200


# Answered here. ------------------------------------------------------------------------------------------


async def test_pings_are_answered_whatever_the_upstream_does(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    await registry.stop()
    for path, method in product(("/v2/", "/v2", "/v2/?ns=docker.io", "/healthz"), ("GET", "HEAD")):
        answer = await ask(mirror, path, method)
        assert answer.head.status == 200
        assert answer.head.headers["docker-distribution-api-version"] == "registry/2.0"
        assert answer.head.headers["content-type"] == "application/json"
        assert "www-authenticate" not in answer.head.headers
        check_cache_status(answer.head.headers["cache-status"])
        assert method == "HEAD" or json.loads(answer.body) is not None
    assert not journal.entries


async def test_a_client_that_brings_credentials_is_served_like_any_other(mirror: RunningMirror) -> None:
    answer = await ask(mirror, "/v2/", Authorization="Bearer of-some-other-registry")
    assert answer.head.status == 200


# Headers. ------------------------------------------------------------------------------------------------


async def test_head_has_the_headers_of_get(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    registry.absent("/v2/owner/gone/*")
    paths = [
        "/v2/",
        "/healthz",
        "/v2/owner/app/manifests/1.0",
        f"/v2/owner/app/manifests/{DIGEST}",
        f"/v2/owner/app/blobs/{LAYER}",
        "/v2/owner/gone/manifests/1.0",
        f"/v2/owner/gone/manifests/{DIGEST}",
        "/v2/INVALID/manifests/1.0",
        "/v2/owner/app/manifests/1.0?ns=quay.io",
        "/nothing",
    ]
    for path in paths:
        await ask(mirror, path)
        get, head = await ask(mirror, path), await ask(mirror, path, "HEAD")
        for answer in (get, head):
            # The second of two may come in another second, or after the fill that the first one joined.
            for changing in ("date", "age", "cache-status"):
                answer.head.headers.pop(changing, None)
        assert head.head == get.head, path
        assert int(head.head.headers["content-length"]) == len(get.body) > 0
        assert head.head.headers["docker-distribution-api-version"] == "registry/2.0"


async def test_the_head_of_a_cold_blob_has_the_headers_of_get(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    head = (await ask(mirror, f"/v2/owner/app/blobs/{LAYER}", "HEAD")).head
    assert journal.paths() == [f"HEAD /v2/owner/app/blobs/{LAYER}"]
    get = (await ask(mirror, f"/v2/owner/app/blobs/{LAYER}")).head
    for answer in (head, get):
        for changing in ("date", "cache-status"):
            del answer.headers[changing]
    assert head == get


async def test_content_carries_its_digest_as_header_and_etag(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    expected = {
        "manifests/1.0": (DIGEST, content.OCI_MANIFEST, IMAGE.manifest.data),
        f"manifests/{DIGEST}": (DIGEST, content.OCI_MANIFEST, IMAGE.manifest.data),
        f"blobs/{LAYER}": (LAYER, "application/octet-stream", IMAGE.layers[0].data),
    }
    for path, (digest, media_type, data) in expected.items():
        for _ in range(2):
            answer = await ask(mirror, f"/v2/owner/app/{path}")
            headers = answer.head.headers
            assert answer.body == data
            assert headers["docker-content-digest"] == digest
            assert headers["etag"] == f'"{digest}"'
            assert headers["content-type"] == media_type
            assert headers["content-length"] == str(len(data))
            assert "content-encoding" not in headers
            assert "transfer-encoding" not in headers


async def test_nothing_of_a_client_travels_upstream(
    mirror: RunningMirror, registry: FakeRegistry, token_service: FakeTokenService, cdn: FakeCDN, journal: Journal
) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    registry.auth = TokenAuth(token_service)
    registry.redirect_blobs(cdn)
    of_a_client = {
        "Authorization": "Bearer canary",
        "Proxy_Authorization": "Basic canary",
        "Cookie": "session=canary",
        "X_Forwarded_For": "192.0.2.1",
        "X_Forwarded_Host": "canary.example",
        "X_Real_IP": "192.0.2.1",
        "Forwarded": "for=192.0.2.1",
        "Via": "1.1 canary",
        "User_Agent": "canary/1.0",
        "Accept": "canary/type",
        "Accept_Encoding": "gzip, zstd",
        "Accept_Language": "canary",
        "Referer": "http://canary.example/",
        "Range": "bytes=0-",
        "If_None_Match": '"canary"',
        "X_HTTP_Method_Override": "DELETE",
        "X_Canary": "canary",
    }
    for path in ("manifests/1.0", f"manifests/{DIGEST}", f"blobs/{LAYER}"):
        assert (await ask(mirror, f"/v2/owner/app/{path}?canary=1", **of_a_client)).head.status in {200, 206}

    assert {entry.host for entry in journal.entries} == {"registry", "tokens", "cdn"}
    for entry in journal.entries:
        names = {name.lower() for name, _ in entry.headers}
        assert names <= {"host", "user-agent", "accept", "accept-encoding", "authorization", "cdn-loop"}, entry
        assert entry.header("User-Agent") == f"mirror/{__version__}"
        assert entry.header("Accept-Encoding") == "identity"
        assert "canary" not in str(entry.headers)
        assert "canary" not in entry.query
    assert {entry.header("Accept") for entry in _of_manifests(journal)} == {", ".join(_MANIFEST_TYPES)}


_MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)


def _of_manifests(journal: Journal) -> list[Entry]:
    return journal.select(path="/v2/*/manifests/*")


# IPv6. ---------------------------------------------------------------------------------------------------


async def test_an_ipv6_listener(start_mirror: StartMirror, registry: FakeRegistry, journal: Journal) -> None:
    registry.add_image("library/alpine", "1.0", IMAGE)
    async with start_mirror(listen="[::1]:0", admin={"listen": "[::1]:0"}) as running:
        assert running.mirror.public.address.startswith("[::1]:")
        response, body = await running.get("/v2/alpine/manifests/1.0")
        assert (response.status, body) == (200, IMAGE.manifest.data)
        response, body = await running.get("/v2/")
        assert response.status == 200
        assert await running.metric("mirror_build_info" + f'{{version="{__version__}"}}') == 1
    assert journal.paths() == ["HEAD /v2/library/alpine/manifests/1.0", f"GET /v2/library/alpine/manifests/{DIGEST}"]
