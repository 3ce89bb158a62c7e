"""Redirects: followed by hand, without credentials, a few of them, and only to where the upstream may lead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from mirror.errors import MirrorError, UpstreamInvalid, UpstreamUnreachable
from mirror.upstream.egress import Egress, Outgoing
from tests.fakes import content, faults
from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.origin import Origin
from tests.fakes.redirects import Form, Redirect
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import error_code, refused
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import configuration, serving
from tests.integration.conftest import RunningMirror, StartMirror, docker_io
from tests.integration.tls import server_context, trusting

IMAGE = content.image(layers=3)
LAYER = IMAGE.layers[0]
MANIFEST = "/v2/library/alpine/manifests/3.20"
DIGEST = f"/v2/library/alpine/manifests/{IMAGE.digest}"
BLOB = f"/v2/library/alpine/blobs/{LAYER.digest}"


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry, token_service: FakeTokenService) -> None:
    registry.add_image("library/alpine", "3.20", IMAGE)
    registry.auth = TokenAuth(token_service)


# Where they lead. ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_any_kind_is_followed_without_authorization(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, status: int
) -> None:
    registry.redirect_blobs(cdn, Redirect(status=status))
    registry.redirect_manifests(cdn, Redirect(status=status))
    for path, data in ((MANIFEST, IMAGE.manifest.data), (BLOB, LAYER.data)):
        response, body = await mirror.get(path)
        assert (response.status, body) == (200, data)
    assert journal.count(host="registry", authorization="bearer", status=status) >= 2
    at_cdn = journal.select(host="cdn")
    assert {entry.authorization for entry in at_cdn} == {"none"}
    assert {entry.path for entry in at_cdn} == {f"/objects/{IMAGE.digest}", f"/objects/{LAYER.digest}"}
    # What is stored is known by the name it was asked for.
    journal.clear()
    response, body = await mirror.get(MANIFEST)
    assert (response.headers["Content-Type"], body) == (content.OCI_MANIFEST, IMAGE.manifest.data)
    assert response.headers["Docker-Content-Digest"] == IMAGE.digest
    assert not journal.entries


@pytest.mark.parametrize("form", ["absolute", "relative", "network"])
async def test_a_location_in_any_form_is_understood(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, form: Form
) -> None:
    registry.redirect_blobs(cdn, Redirect(form=form))
    registry.redirect_manifests(cdn, Redirect(form=form))
    for path, data in ((MANIFEST, IMAGE.manifest.data), (DIGEST, IMAGE.manifest.data), (BLOB, LAYER.data)):
        response, body = await mirror.get(path)
        assert (response.status, body) == (200, data)
    served_by = "registry" if form == "relative" else "cdn"
    assert journal.body_bytes("/objects/*", host=served_by) == len(IMAGE.manifest.data) + LAYER.size


async def test_the_head_of_a_blob_follows_too(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal
) -> None:
    registry.redirect_blobs(cdn)
    response, _ = await mirror.get(BLOB, "HEAD")
    assert (response.status, response.headers["Content-Length"]) == (200, str(LAYER.size))
    assert [entry.method for entry in journal.select(host="cdn")] == ["HEAD"]


async def test_a_signed_address_is_never_used_twice(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal
) -> None:
    registry.redirect_blobs(cdn)
    for layer in IMAGE.layers:
        response, body = await mirror.get(f"/v2/library/alpine/blobs/{layer.digest}")
        assert (response.status, body) == (200, layer.data)
        cdn.expire_signatures()
    assert len({entry.query for entry in journal.select(host="cdn")}) == len(IMAGE.layers)


class Recorder(Origin):
    """Answers everything with the same bytes, and keeps the targets exactly as they came."""

    def __init__(self, journal: Journal, body: bytes) -> None:
        super().__init__("recorder", journal)
        self.targets: list[str] = []
        self._body = body

    def reply(self, request: Request) -> Answer:
        self.targets.append(request.target)
        return Answer(200, (("Content-Type", "application/octet-stream"),), self._body)


SIGNED = [
    "/a?X-Amz-Signature=ab%2Bcd%2fef%3D&X-Amz-Credential=AKIA%2F20240101%2Fus-east-1",
    "/a%2Fb/c%20d/e+f/~g?policy=a+b%20c&sig=x%7Ey~z",
    "/a/./b/../c?x",
    "/a?empty=&=nothing&&flag&x=1&x=2",
    "/a?quote='()*!,;:@/$[]{}|^`",
    "/?sig=%25%2525%E2%98%83",
    "//double//slashes?x=//y",
    "/p;v=1,2?x#fragment",
    "?only=query",
]


@pytest.mark.parametrize("target", SIGNED)
async def test_the_address_of_a_redirect_is_kept_byte_for_byte(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, target: str
) -> None:
    async with Recorder(journal, LAYER.data) as recorder:
        registry.redirect_blobs(cdn, Redirect(location=recorder.url + target))
        response, body = await mirror.get(BLOB)
        assert (response.status, body) == (200, LAYER.data)
        wanted = target.partition("#")[0]
        assert recorder.targets == [wanted if wanted.startswith("/") else f"/{wanted}"]


async def test_a_long_signed_address(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal
) -> None:
    target = f"/a?token={'x' * 20_000}"
    async with Recorder(journal, LAYER.data) as recorder:
        registry.redirect_blobs(cdn, Redirect(location=recorder.url + target))
        response, body = await mirror.get(BLOB)
        assert (response.status, body) == (200, LAYER.data)
        assert recorder.targets == [target]


async def test_a_query_is_in_no_message_and_no_log(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.redirect_blobs(cdn)
    cdn.always("*", faults.status(500))
    response, body = await mirror.get(BLOB)
    assert response.status == 502
    assert "sig=" not in body.decode() + str(response.headers) + "".join(capfd.readouterr())


BROKEN: list[Fault] = [
    faults.raw(b"HTTP/1.1 abc\r\n\r\n"),
    faults.raw(b"garbage not http\r\n\r\n"),
    faults.dropped,
    faults.header("X-Long", "x" * 100_000),
    faults.header("Content-Encoding", "gzip"),
    faults.status(500),
]


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_signed_address_is_in_no_log_whatever_breaks_behind_it(
    registry: FakeRegistry, token_service: FakeTokenService, cdn: FakeCDN, tmp_path: Path, form: str
) -> None:
    images = [content.image(layers=1, seed=number) for number in range(len(BROKEN))]
    for image in images:
        registry.add_image("library/alpine", None, image)
    config = configuration(
        registry, token_service, tmp_path, log={"format": form, "level": "debug"}, freshness={"tag_ttl": "0s"}
    )
    async with serving(config, tmp_path) as mirror:
        assert (await mirror.get(MANIFEST))[0].status == 200
        location = f"{cdn.url}/canary-path?X-Amz-Signature=canary-query"
        registry.redirect_manifests(cdn, Redirect(location=location))
        registry.redirect_blobs(cdn, Redirect(location=location))
        for image, broken in zip(images, BROKEN, strict=True):
            cdn.heal()
            cdn.always("*", faults.both(faults.answer_with(200, b"whatever"), broken))
            for path in (MANIFEST, f"/v2/library/alpine/manifests/{image.digest}", BLOB):
                _, body = await mirror.get(path)
                assert b"canary" not in body
        await cdn.stop()
        # Remembered failures tell no more than the first one did.
        await mirror.get(MANIFEST)
        await mirror.get(BLOB)
        mirror.terminate()
        assert await mirror.exit_code() == 0
        written = "\n".join([*mirror.log, *mirror.stderr])
    assert "served stale: " in written
    assert "canary" not in written


# How many. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [BLOB, DIGEST, MANIFEST])
async def test_five_redirects_are_followed(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, path: str
) -> None:
    registry.redirect_blobs(cdn, Redirect(hops=5))
    registry.redirect_manifests(cdn, Redirect(hops=5))
    response, body = await mirror.get(path)
    assert (response.status, body) == (200, LAYER.data if path == BLOB else IMAGE.manifest.data)
    assert journal.count("GET", host="cdn") == 5


@pytest.mark.parametrize("hops", [6, "endless"])
@pytest.mark.parametrize("path", [BLOB, DIGEST])
async def test_the_sixth_redirect_is_not_followed(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, path: str, hops: int
) -> None:
    registry.redirect_blobs(cdn, Redirect(hops=hops))
    registry.redirect_manifests(cdn, Redirect(hops=hops))
    assert await refused(mirror, path) == (502, "UNAVAILABLE")
    assert journal.count(host="cdn") == 5


async def test_a_registry_that_redirects_to_itself(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal
) -> None:
    registry.redirect_blobs(cdn, Redirect(location="{path}"))
    assert await refused(mirror, BLOB) == (502, "UNAVAILABLE")
    assert journal.count("GET", BLOB, status=307) == 6
    assert journal.count(host="tokens") == 1


# What is no redirect. ------------------------------------------------------------------------------------

LOCATIONS = [
    "",
    "http://",
    "https://:443/",
    "http://[::1/objects",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:port/",
    "ftp://127.0.0.1/objects",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,x",
    "http://user:password@127.0.0.1/",
    "http://user@127.0.0.1/",
    "ws://127.0.0.1/",
]


@pytest.mark.parametrize("location", LOCATIONS)
async def test_a_redirect_to_no_proper_address_is_refused(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, location: str, tmp_path: Path
) -> None:
    registry.redirect_blobs(cdn, Redirect(location=location))
    registry.redirect_manifests(cdn, Redirect(location=location))
    for path in (BLOB, MANIFEST):
        assert await refused(mirror, path) == (502, "UNAVAILABLE")
    assert {entry.host for entry in journal.entries} == {"registry", "tokens"}
    assert not CacheFolder(tmp_path / "cache").digests()


async def test_a_redirect_without_location_is_refused(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN
) -> None:
    registry.redirect_blobs(cdn, Redirect(missing=True))
    registry.redirect_manifests(cdn, Redirect(missing=True))
    assert await refused(mirror, BLOB) == (502, "UNAVAILABLE")
    assert await refused(mirror, MANIFEST) == (502, "UNAVAILABLE")


@pytest.mark.parametrize("status", [300, 304, 305, 306])
async def test_another_3xx_is_no_redirect(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, status: int
) -> None:
    registry.redirect_blobs(cdn, Redirect(status=status))
    assert await refused(mirror, BLOB) == (502, "UNAVAILABLE")
    assert journal.count(host="cdn") == 0


# A second host in trouble. -------------------------------------------------------------------------------


@pytest.mark.usefixtures("undaunted")
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        # That host cannot say for the registry who may read.
        (401, (502, "UNAVAILABLE")),
        (403, (502, "UNAVAILABLE")),
        (400, (502, "UNAVAILABLE")),
        (416, (502, "UNAVAILABLE")),
        (500, (502, "UNAVAILABLE")),
        (503, (502, "UNAVAILABLE")),
        (429, (503, "UNAVAILABLE")),
        (404, (404, "BLOB_UNKNOWN")),
    ],
)
async def test_an_error_of_the_second_host(
    mirror: RunningMirror,
    registry: FakeRegistry,
    cdn: FakeCDN,
    journal: Journal,
    status: int,
    expected: tuple[int, str],
) -> None:
    registry.redirect_blobs(cdn)
    registry.redirect_manifests(cdn)
    cdn.always(f"/objects/{LAYER.digest}", faults.answer_with(status, b"<Error/>", "application/xml"))
    assert await refused(mirror, BLOB) == expected
    assert journal.count(host="cdn") == 1
    assert journal.count(host="tokens") == 1
    # It says nothing about the rest, nor about the next time.
    cdn.heal()
    response, body = await mirror.get(f"/v2/library/alpine/blobs/{IMAGE.config.digest}")
    assert (response.status, body) == (200, IMAGE.config.data)
    if expected[0] != 404:
        response, body = await mirror.get(BLOB)
        assert (response.status, body) == (200, LAYER.data)


@pytest.mark.parametrize("has_token", [False, True])
@pytest.mark.parametrize("status", [401, 403])
async def test_a_challenge_of_the_second_host_is_not_answered(
    mirror: RunningMirror,
    registry: FakeRegistry,
    cdn: FakeCDN,
    token_service: FakeTokenService,
    journal: Journal,
    status: int,
    has_token: bool,
) -> None:
    if has_token:
        # It is sent unasked, so that the second host's challenge is the first there is.
        assert (await mirror.get("/v2/library/alpine/tags/list"))[0].status == 200
    registry.redirect_manifests(cdn)
    challenge = f'Bearer realm="{token_service.realm}",service="{token_service.service}",scope="aws"'
    cdn.always("*", faults.both(faults.status(status), faults.header("WWW-Authenticate", challenge)))
    assert await refused(mirror, DIGEST) == (502, "UNAVAILABLE")
    assert token_service.requests() == 1
    assert journal.count(host="cdn") == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_second_host_does_not_take_a_cached_tag_away(
    start_mirror: StartMirror, registry: FakeRegistry, cdn: FakeCDN, status: int
) -> None:
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        assert (await mirror.get(MANIFEST))[0].status == 200
        registry.redirect_manifests(cdn)
        cdn.always("*", faults.status(status))
        response, body = await mirror.get(MANIFEST)
        assert (response.status, body) == (200, IMAGE.manifest.data)
        assert "fwd=stale" in response.headers["Cache-Status"]


async def test_a_second_host_that_is_down(mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN) -> None:
    registry.redirect_blobs(cdn)
    await cdn.stop()
    assert await refused(mirror, BLOB) == (502, "UNAVAILABLE")
    await cdn.start()
    response, body = await mirror.get(BLOB)
    assert (response.status, body) == (200, LAYER.data)


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("fault", [faults.html, faults.wrong_bytes(), faults.gzip_encoded, faults.truncated(100)])
async def test_a_second_host_that_sends_something_else(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, fault: Fault, tmp_path: Path
) -> None:
    registry.redirect_blobs(cdn)
    cdn.always("*", fault)
    assert await refused(mirror, BLOB) == (502, "UNAVAILABLE")
    assert LAYER.digest not in CacheFolder(tmp_path / "cache").digests()
    cdn.heal()
    response, body = await mirror.get(BLOB)
    assert (response.status, body) == (200, LAYER.data)


# Private addresses. --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undaunted")
async def test_an_upstream_at_a_private_address_must_be_configured_as_such(
    start_mirror: StartMirror, registry: FakeRegistry, token_service: FakeTokenService, journal: Journal
) -> None:
    upstream = {**docker_io(registry, token_service), "private_network": False}
    async with start_mirror(upstreams={"docker.io": upstream}) as mirror:
        for path in (MANIFEST, DIGEST, BLOB):
            response, body = await mirror.get(path)
            assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
            assert b"private_network" in body
        response, _ = await mirror.get(BLOB, "HEAD")
        assert response.status == 502
    assert not journal.entries


async def test_one_private_upstream_does_not_open_the_others(
    start_mirror: StartMirror,
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    journal: Journal,
) -> None:
    public = {**docker_io(other_registry, token_service), "private_network": False}
    upstreams = {"docker.io": docker_io(registry, token_service), "ghcr.io": public}
    async with start_mirror(upstreams=upstreams) as mirror:
        assert (await mirror.get(MANIFEST))[0].status == 200
        assert await refused(mirror, f"{MANIFEST}?ns=ghcr.io") == (502, "UNAVAILABLE")
    assert journal.count(host="other") == 0


PRIVATE = [
    "http://127.0.0.1/",
    "http://127.255.255.254/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://192.0.0.1/",
    "http://198.18.0.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[2001:0:7f00:1::]/",
    "http://[::127.0.0.1]/",
    "http://localhost/",
    "http://LOCALHOST./",
    # Other ways to write 127.0.0.1, which some resolvers take.
    "http://2130706433/",
    "http://0x7f000001/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.0.1./",
]


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    made = Egress("mirror/test", lambda: "mirror-test")
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize("url", PRIVATE)
async def test_no_private_address_is_connected_to(egress: Egress, url: str) -> None:
    with pytest.raises(MirrorError) as caught:
        await egress.open(Outgoing("GET", URL(url), private_network=False))
    assert isinstance(caught.value, UpstreamUnreachable | UpstreamInvalid)
    # Not: the network happened to have nothing there.
    told = str(caught.value)
    assert "private" in told or "resolve" in told or isinstance(caught.value, UpstreamInvalid), told


async def test_the_port_makes_no_difference(egress: Egress, registry: FakeRegistry, journal: Journal) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1"):
        with pytest.raises(MirrorError):
            await egress.open(Outgoing("GET", URL(f"http://{host}:{registry.port}/v2/"), private_network=False))
    assert not journal.entries


async def test_authorization_goes_to_the_first_origin_only(
    egress: Egress, registry: FakeRegistry, cdn: FakeCDN, journal: Journal
) -> None:
    registry.redirect_blobs(cdn)
    response = await egress.open(
        Outgoing("GET", URL(registry.url + BLOB), private_network=True, authorization="Basic Y2k6c2VjcmV0")
    )
    response.release()
    assert [(entry.host, entry.authorization) for entry in journal.entries] == [("registry", "basic")]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_authorization_is_lost_for_good_once_another_origin_was_visited(
    mirror: RunningMirror,
    registry: FakeRegistry,
    token_service: FakeTokenService,
    cdn: FakeCDN,
    journal: Journal,
    method: str,
) -> None:
    registry.auth = TokenAuth(token_service)
    registry.redirect_blobs(cdn, Redirect(location=f"{cdn.url}/bounce"))
    cdn.always("*", lambda _: Answer(307, (("Location", f"{registry.url}{MANIFEST}"),)))

    response, body = await mirror.get(BLOB, method)

    assert response.status >= 400
    assert IMAGE.manifest.data not in body
    # The one request that came back to the registry brought nothing with it.
    assert [(one.path, one.authorization) for one in journal.select(host="registry", path=MANIFEST)] == [
        (MANIFEST, "none")
    ]
    assert journal.count(host="cdn", authorization="none") == journal.count(host="cdn") == 1


# TLS. ----------------------------------------------------------------------------------------------------


async def test_a_redirect_from_https_to_http_is_refused(
    journal: Journal, token_service: FakeTokenService, cdn: FakeCDN, tmp_path: Path
) -> None:
    context = server_context(tmp_path)
    async with (
        FakeRegistry(journal, name="secure", tls=context) as secure,
        FakeCDN(journal, "secure-cdn", context) as secure_cdn,
    ):
        secure.add_image("library/alpine", "3.20", IMAGE)
        config = configuration(secure, token_service, tmp_path)
        async with serving(config, tmp_path, trusting(tmp_path)) as mirror:
            secure.redirect_blobs(cdn)
            response, body = await mirror.get(BLOB)
            assert (response.status, error_code(body)) == (502, "UNAVAILABLE")
            assert journal.count(host="cdn") == 0
            secure.redirect_blobs(secure_cdn)
            response, body = await mirror.get(BLOB)
            assert (response.status, body) == (200, LAYER.data)
            assert journal.count(host="secure-cdn") == 1


# To the mirror itself. -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [MANIFEST, DIGEST, BLOB])
async def test_a_redirect_to_the_mirror_itself_is_noticed_at_once(
    mirror: RunningMirror, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, path: str
) -> None:
    # R3. Its address is a private one, which this upstream may lead to.
    location = Redirect(location=f"{mirror.url}{{path}}")
    registry.redirect_blobs(cdn, location)
    registry.redirect_manifests(cdn, location)
    async with asyncio.timeout(15):
        assert await refused(mirror, path) == (502, "UNAVAILABLE")
    assert journal.count(host="registry", status=307) == 1
