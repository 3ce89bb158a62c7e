"""The container image: built from the Dockerfile, and run as the README says."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from mirror import __version__
from tests.e2e.http_client import Answer, ask
from tests.e2e.images import Image
from tests.e2e.process import free_port, wait_until
from tests.e2e.registry import RealRegistry

from .conftest import REVISION, SHIPPED
from .containers import Container, Containers


class Place:
    """Where a container listens, and what it mirrors."""

    def __init__(self, upstream: RealRegistry) -> None:
        self.port, self.admin_port = free_port(), free_port()
        docker_io = {"endpoints": [upstream.url], "private_network": True}
        self.environment = {
            "MIRROR_LISTEN": f"127.0.0.1:{self.port}",
            "MIRROR_ADMIN__LISTEN": f"0.0.0.0:{self.admin_port}",
            "MIRROR_UPSTREAMS": json.dumps({"docker.io": docker_io}),
        }

    def path(self, digest: str) -> str:
        """Where a blob is asked for."""
        return f"/v2/{SHIPPED}/blobs/{digest}"

    def get(self, digest: str) -> Answer:
        """Ask for a blob."""
        return ask("GET", f"http://127.0.0.1:{self.port}{self.path(digest)}")


@pytest.fixture(scope="module")
def place(upstream: RealRegistry) -> Place:
    """Free ports for a container, and a registry behind it."""
    return Place(upstream)


@pytest.fixture
def healthy(containers: Containers, place: Place) -> Iterator[Container]:
    """A container that serves."""
    with containers.running("cache", place.environment) as container:
        wait_until(lambda: container.health == "healthy")
        yield container


def layers(archive: Path) -> list[list[tarfile.TarInfo]]:
    """What each layer of an archived image adds, the base's first."""
    with tarfile.open(archive) as outer:
        [image] = json.load(outer.extractfile("manifest.json"))  # type: ignore[arg-type]  # None for folders only
        found = []
        for name in image["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                found.append(layer.getmembers())
    return found


def test_it_adds_to_its_base_the_mirror_and_nothing_else(image_archive: Path) -> None:
    _, added = layers(image_archive)
    names = [entry.name.rstrip("/") for entry in added]
    allowed = ("opt/mirror", "etc/mirror", "var/cache/mirror")
    parents = {"opt", "etc", "var", "var/cache"}
    assert [name for name in names if not name.startswith(allowed) and name not in parents] == []
    assert [name for name in names if {"pip", "tests"} & set(name.split("/"))] == []
    assert [entry.name for entry in added if entry.isfile() and entry.name.startswith("etc")] == [
        "etc/mirror/config.yaml"
    ]
    assert sum(entry.size for entry in added) < 64 * 2**20


def test_it_cannot_change_its_own_code(image_archive: Path) -> None:
    _, added = layers(image_archive)
    owned = {entry.name.rstrip("/") for entry in added if entry.uid != 0 or entry.gid != 0}
    assert owned == {"var/cache/mirror"}
    assert [entry.name for entry in added if entry.mode & 0o022 and not entry.issym()] == []


def test_it_says_what_it_is(containers: Containers) -> None:
    image = containers.image()
    assert image["User"] == "65532:65532"
    assert {key: value for key, value in image["Labels"].items() if key.startswith("org.opencontainers.")} == {
        "org.opencontainers.image.title": "mirror",
        "org.opencontainers.image.description": "A pull-through mirror for container registries",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.revision": REVISION,
    }
    assert set(image["ExposedPorts"]) == {"5000/tcp", "5001/tcp"}
    assert set(image["Volumes"]) == {"/var/cache/mirror"}
    assert "MIRROR_ADMIN__LISTEN=0.0.0.0:5001" in image["Env"]


def test_every_command_can_be_run(containers: Containers, place: Place) -> None:
    assert containers.run("--version").stdout == f"mirror {__version__}\n"
    assert "serve" in containers.run("--help").stdout
    scrubbed = containers.run("scrub", volume="unused")
    assert (scrubbed.returncode, scrubbed.stderr) == (0, "")
    checked = containers.run("check", "shipped", environment=place.environment)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
    refused = containers.run("serve", environment={"MIRROR_CACHE__MAX_SIZE": "much"})
    assert refused.returncode == 78
    assert refused.stderr.startswith("mirror: cache.max_size: ")


def test_the_health_check_fails_where_no_mirror_is(containers: Containers, place: Place) -> None:
    kind, command = containers.image()["Healthcheck"]["Test"]
    assert kind == "CMD"
    down = containers.run(entrypoint=command, environment=place.environment)
    assert down.returncode == 1
    assert down.stderr.startswith(f"the admin listener does not answer at port {place.admin_port}: ")


def test_it_serves_as_nobody_with_no_capability_and_writes_nowhere_else(
    containers: Containers, place: Place, shipped: Image, healthy: Container
) -> None:
    _, command = containers.image()["Healthcheck"]["Test"]
    check = healthy.execute(command)
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
    status = healthy.execute("python", "-c", "print(open('/proc/1/status').read())").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == ["65532"] * 4
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    assert "Read-only" in healthy.execute("mkdir", "/opt/mirror/new").stderr
    cold = place.get(shipped.blobs[-1].digest)
    assert cold.body == shipped.blobs[-1].data
    assert cold.headers["Cache-Status"].startswith("mirror; fwd=miss")


def test_nobody_changes_anything_without_a_token(place: Place, healthy: Container) -> None:
    refused = ask("DELETE", f"http://127.0.0.1:{place.admin_port}/api/v1/images/shipped")
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (403, "token-missing")


def test_the_next_container_has_what_the_last_one_pulled_and_its_stop_waits_for_a_transfer(
    upstream: RealRegistry, place: Place, shipped: Image, healthy: Container
) -> None:
    blob = shipped.blobs[-1]
    upstream.stop()
    with closing(HTTPConnection("127.0.0.1", place.port, timeout=30)) as client, ThreadPoolExecutor() as aside:
        client.request("GET", place.path(blob.digest))
        answer = client.getresponse()
        assert answer.headers["Cache-Status"] == "mirror; hit"
        stop = aside.submit(healthy.stop)
        wait_until(lambda: "event=stopping" in healthy.log)
        assert answer.read() == blob.data
        stop.result()
    assert healthy.exit_code == 0, healthy.log
    assert "Traceback" not in healthy.log
