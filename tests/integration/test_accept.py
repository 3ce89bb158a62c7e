"""Accept: what goes upstream, what clients get that do not take what a tag points to, and that others never notice."""

from __future__ import annotations

from itertools import product

import pytest

from mirror.oci.media_types import MANIFEST_TYPES
from tests.fakes import content, faults
from tests.fakes.content import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.fakes.journal import Entry, Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.asking import check_cache_status, error_code, send
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror

INDEX = content.index()
LIST = content.index(docker=True)
CHILD = LIST.images[0]
OCI = "/v2/owner/app/manifests/oci"
DOCKER = "/v2/owner/app/manifests/docker"
NO_TTL = {"tag_ttl": "0s"}


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "oci", INDEX)
    registry.add_image("owner/app", "docker", LIST)


def accepts(*lines: str) -> list[tuple[str, str]]:
    """Headers with these Accept lines, each on its own."""
    return [("Accept", line) for line in lines]


async def pulled(
    mirror: RunningMirror, path: str, *lines: str, status: int = 200, method: str = "GET"
) -> tuple[str, bytes]:
    """Cache-Status and body of an answer that has this status."""
    response, body = await mirror.get(path, method, headers=accepts(*lines), skip_auto_headers=["Accept"])
    assert response.status == status, body
    check_cache_status(response.headers["Cache-Status"])
    return response.headers["Cache-Status"], body


def accepted(entry: Entry) -> str:
    """The Accept header that came with a request, which must be one line."""
    (line,) = [value for name, value in entry.headers if name.lower() == "accept"]
    return line


# What goes upstream. -------------------------------------------------------------------------------------


SENT: list[tuple[str, ...]] = [(), ("*/*",), ("x/y; q=1, nonsense",), ("text/html", OCI_INDEX), (", ,",)]


async def test_all_known_types_go_upstream_whatever_the_client_sent(
    start_mirror: StartMirror, journal: Journal
) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        for lines in SENT:
            assert (await pulled(mirror, OCI, *lines))[1] == INDEX.manifest.data
    assert [accepted(entry) for entry in journal.entries] == [", ".join(MANIFEST_TYPES)] * (len(SENT) + 1)


async def test_no_word_of_a_clients_header_goes_upstream(mirror: RunningMirror, journal: Journal) -> None:
    header = f'{DOCKER_MANIFEST};secret="a";q=0.7, x/evil, text/html;q=0'
    assert (await pulled(mirror, DOCKER, header))[1] == CHILD.manifest.data
    sent = {accepted(entry) for entry in journal.entries}
    assert sent == {", ".join(MANIFEST_TYPES), DOCKER_MANIFEST}


# What all lines together take. ---------------------------------------------------------------------------


async def test_all_lines_count_as_dockerd_sends_them(mirror: RunningMirror, journal: Journal) -> None:
    lines = ("application/json", DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST)
    for turn in range(len(lines)):
        for path, expected in ((OCI, INDEX), (DOCKER, LIST)):
            assert (await pulled(mirror, path, *lines[turn:], *lines[:turn]))[1] == expected.manifest.data
    assert len(journal.entries) == 4


async def test_blank_and_broken_lines_on_the_wire(mirror: RunningMirror, journal: Journal) -> None:
    for lines in (
        b"Accept:\r\n",
        b"Accept:\r\nAccept: ,\r\n",
        b"Accept: \xff\xfe\r\n",
        b"Accept: %s\r\n" % (b";" * 4000),
    ):
        answer = await send(mirror, b"GET %s HTTP/1.1\r\nHost: mirror.test\r\n%s\r\n" % (OCI.encode(), lines))
        assert (answer.head.status, answer.body) == (200, INDEX.manifest.data)
    assert len(journal.entries) == 2


# A client that does not take what is stored. -------------------------------------------------------------


async def test_a_client_without_lists_gets_what_upstream_has_for_it(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    await pulled(mirror, DOCKER)
    journal.clear()
    assert await pulled(mirror, DOCKER, DOCKER_MANIFEST) == ("mirror; fwd=miss; stored", CHILD.manifest.data)
    assert journal.paths() == [f"HEAD {DOCKER}", f"GET /v2/owner/app/manifests/{CHILD.digest}"]
    journal.clear()
    await registry.stop()
    # Again, and for everybody else: as it was, and asked of nobody.
    assert await pulled(mirror, DOCKER, DOCKER_MANIFEST) == ("mirror; hit", CHILD.manifest.data)
    for lines in ((), (DOCKER_LIST,), (DOCKER_LIST, DOCKER_MANIFEST)):
        assert await pulled(mirror, DOCKER, *lines) == ("mirror; hit", LIST.manifest.data)
    assert await pulled(mirror, f"/v2/owner/app/manifests/{CHILD.digest}") == ("mirror; hit", CHILD.manifest.data)


async def test_the_answer_names_what_it_is(mirror: RunningMirror) -> None:
    for method in ("HEAD", "GET"):
        response, _ = await mirror.get(DOCKER, method, headers={"Accept": DOCKER_MANIFEST})
        assert response.headers["Content-Type"] == DOCKER_MANIFEST
        assert response.headers["Docker-Content-Digest"] == CHILD.digest
        assert response.headers["Content-Length"] == str(CHILD.manifest.size)
        assert response.headers["Vary"] == "Accept"
        assert response.headers["Age"].isdecimal()


async def test_a_cold_tag_is_not_recorded_as_what_an_old_client_got(
    mirror: RunningMirror, journal: Journal, cache_folder: CacheFolder
) -> None:
    assert (await pulled(mirror, DOCKER, DOCKER_MANIFEST))[1] == CHILD.manifest.data
    assert (await pulled(mirror, DOCKER))[1] == LIST.manifest.data
    assert await pulled(mirror, DOCKER, DOCKER_MANIFEST) == ("mirror; hit", CHILD.manifest.data)
    assert len(journal.entries) == 4


async def test_what_upstream_says_of_a_type_it_has_not_is_passed_on(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    await pulled(mirror, OCI)
    journal.clear()
    for expected in (
        "mirror; fwd=miss; fwd-status=404; detail=manifest-unknown",
        "mirror; hit; detail=manifest-unknown",
    ):
        status, body = await pulled(mirror, OCI, DOCKER_MANIFEST, status=404)
        assert (status, error_code(body)) == (expected, "MANIFEST_UNKNOWN")
        assert b"accepts" in body
    assert journal.paths() == [f"HEAD {OCI}"]
    assert await pulled(mirror, OCI) == ("mirror; hit", INDEX.manifest.data)


@pytest.mark.usefixtures("forgetful")
async def test_an_outage(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror, OCI)
        await pulled(mirror, DOCKER, DOCKER_MANIFEST)
    # Also after a restart.
    async with start_mirror(freshness=NO_TTL) as mirror:
        for fault in (faults.status(503), faults.status(429), faults.dropped):
            registry.always("/v2/*", fault)
            stale = "mirror; fwd=stale; detail=upstream-unavailable"
            assert await pulled(mirror, DOCKER, DOCKER_MANIFEST) == (stale, CHILD.manifest.data)
            assert await pulled(mirror, DOCKER) == (stale, LIST.manifest.data)
            # What nobody has asked for before cannot be had; the one who takes it has it all the same.
            response, body = await mirror.get(OCI, headers={"Accept": DOCKER_MANIFEST})
            assert (response.status >= 500, error_code(body)) == (True, "UNAVAILABLE")
            assert await pulled(mirror, OCI) == (stale, INDEX.manifest.data)
            registry.heal()
        assert (await pulled(mirror, DOCKER, DOCKER_MANIFEST))[0] == "mirror; fwd=stale; fwd-status=200"


async def test_a_tag_that_moves_moves_for_all(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    other = content.index(content.image(seed="moved", docker=True), docker=True)
    async with start_mirror(freshness=NO_TTL) as mirror:
        await pulled(mirror, DOCKER, DOCKER_MANIFEST)
        registry.move_tag("owner/app", "docker", other)
        assert (await pulled(mirror, DOCKER, DOCKER_MANIFEST))[1] == other.images[0].manifest.data
        assert (await pulled(mirror, DOCKER))[1] == other.manifest.data
        registry.remove_tag("owner/app", "docker")
        await pulled(mirror, DOCKER, DOCKER_MANIFEST, status=404)
        await pulled(mirror, DOCKER, status=404)


async def test_an_upstream_that_does_not_negotiate(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    everything = ", ".join(MANIFEST_TYPES)
    answer = faults.answer_with(200, LIST.manifest.data, DOCKER_LIST)
    for path in (DOCKER, f"/v2/owner/app/manifests/{LIST.digest}"):
        registry.always(path, lambda found: faults.content_digest(LIST.digest)(answer(found)))
    for lines in ((everything,), (OCI_INDEX,), (OCI_INDEX,)):
        response, body = await mirror.get(DOCKER, headers=accepts(*lines))
        assert (response.status, response.headers["Content-Type"], body) == (200, DOCKER_LIST, LIST.manifest.data)
    assert journal.count() == 3


# By digest. ----------------------------------------------------------------------------------------------


async def test_a_digest_is_served_whatever_the_client_takes(mirror: RunningMirror, journal: Journal) -> None:
    path = f"/v2/owner/app/manifests/{INDEX.digest}"
    lines = (DOCKER_MANIFEST, f"{OCI_INDEX};q=0, */*", "*/*;q=0", OCI_INDEX)
    for line, method in product(lines, ("GET", "HEAD")):
        response, _ = await mirror.get(path, method, headers=accepts(line))
        assert (response.status, response.headers["Content-Type"]) == (200, OCI_INDEX)
        assert "Vary" not in response.headers
    assert len(journal.entries) == 1


async def test_accept_has_no_say_about_blobs(mirror: RunningMirror) -> None:
    blob = CHILD.layers[0]
    for line in ("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/octet-stream;q=0", "nonsense"):
        assert (await pulled(mirror, f"/v2/owner/app/blobs/{blob.digest}", line))[1] == blob.data
