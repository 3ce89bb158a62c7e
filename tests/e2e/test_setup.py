"""Real clients told by `mirror setup`, and by nobody else: each pulls cold, warm, and with the upstream gone."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from . import buildah, containerd, docker, podman, skopeo
from .buildah import Buildah
from .conftest import require
from .containerd import Containerd
from .docker import DockerDaemon
from .hub import Hub
from .images import Image
from .mirror_process import MirrorProcess, StartMirror
from .own_mounts import own_mounts
from .podman import Podman
from .process import clean_environment
from .setup import set_up
from .skopeo import Skopeo
from .test_cut_clients import assert_pulled
from .test_skopeo import assert_copied

SMALL = "library/small"
APP = "ghcr.io/owner/app"


class Client(Protocol):
    """A client with an empty store."""

    def pull(self, image: str, expected: Image) -> None:
        """Pulls an image, checks that it is the one, and removes it with all it holds."""


class Engine:
    """A client that unpacks images, and tells their ids and layers."""

    def __init__(self, client: DockerDaemon | Podman | Buildah) -> None:
        self._client = client

    def pull(self, image: str, expected: Image) -> None:
        """Pulls an image, checks that it is the one, and removes it with all it holds."""
        self._client.pull(image)
        assert self._client.image_id(image) == expected.config.digest
        assert self._client.layers(image) == expected.diff_ids
        self._client.remove(image)


class ContentStore:
    """containerd, which has manifests and blobs by their digests."""

    def __init__(self, client: Containerd, hosts: Path | None = None) -> None:
        self._client = client
        self._hosts = hosts

    def pull(self, image: str, expected: Image) -> None:
        """Pulls an image, checks that it is the one, and removes it with all it holds."""
        self._client.pull(image, self._hosts)
        assert_pulled(self._client, image, expected)
        self._client.remove(image)


class Folders:
    """Skopeo, which copies images into folders."""

    def __init__(self, client: Skopeo, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._copies = 0

    def pull(self, image: str, expected: Image) -> None:
        """Copies an image into a new folder, and checks that it is the one."""
        self._copies += 1
        folder = self._folder / f"copy{self._copies}"
        self._client.copy(f"docker://{podman.full_name(image)}:latest", f"dir:{folder}")
        assert_copied(folder, expected)


def dockerd(folder: Path, mirror: str, stack: ExitStack) -> Client:
    """A Docker daemon with daemon.json, which has settings of its own as well."""
    require(docker.why_not())
    return Engine(stack.enter_context(DockerDaemon(folder, mirror)))


def ctr(folder: Path, mirror: str, stack: ExitStack) -> Client:
    """`ctr --hosts-dir` with the folder of containerd."""
    require(containerd.why_not())
    return ContentStore(stack.enter_context(Containerd(folder, mirror)))


def ctr_as_docker(folder: Path, mirror: str, stack: ExitStack) -> Client:
    """`ctr --hosts-dir` with the folder of Docker 29, which has one file for all registries."""
    require(containerd.why_not())
    client = stack.enter_context(Containerd(folder, mirror))
    set_up("docker", folder / "root", "--all-registries", "--url", mirror)
    return ContentStore(client, folder / "root" / "etc" / "docker" / "certs.d")


def with_podman(folder: Path, mirror: str, stack: ExitStack) -> Client:
    """Podman with its drop-in."""
    require(podman.why_not())
    return Engine(stack.enter_context(Podman(folder, mirror)))


def with_buildah(folder: Path, mirror: str, stack: ExitStack) -> Client:
    """Buildah with Podman's drop-in."""
    require(buildah.why_not())
    return Engine(stack.enter_context(Buildah(folder, mirror)))


def with_skopeo(folder: Path, mirror: str, stack: ExitStack) -> Client:
    """Skopeo with Podman's drop-in."""
    require(skopeo.why_not())
    return Folders(Skopeo(folder, mirror), folder)


@dataclass(frozen=True)
class Party:
    """One client, the mirror it was told of, and what is upstream of that."""

    client: Client
    mirror: MirrorProcess
    hub: Hub

    def pull(self, name: str, image: Image) -> float:
        """Pulls an image, all of which has to come from the mirror; returns the seconds it took."""
        before = len(self.mirror.journal())
        started = time.monotonic()
        self.client.pull(name, image)
        seconds = time.monotonic() - started
        served = {request.path.rpartition("/")[2] for request in self.mirror.journal()[before:] if request.status < 300}
        assert {"latest", *(blob.digest for blob in image.blobs)} <= served
        return seconds


CLIENTS = {
    "dockerd": (dockerd, [SMALL]),
    "ctr": (ctr, [SMALL, APP]),
    "ctr, docker's files": (ctr_as_docker, [SMALL, APP]),
    "podman": (with_podman, [SMALL, APP]),
    "buildah": (with_buildah, [SMALL, APP]),
    "skopeo": (with_skopeo, [SMALL, APP]),
}


@pytest.fixture(params=CLIENTS)
def party(
    request: pytest.FixtureRequest, hub: Hub, small: Image, start_mirror: StartMirror, tmp_path: Path
) -> Iterator[tuple[Party, list[str]]]:
    """Each client, with the images it can pull: Docker asks mirrors for Docker Hub's only."""
    make: Callable[[Path, str, ExitStack], Client]
    make, names = CLIENTS[request.param]
    for name in names:
        hub.registry.fill(name.removeprefix("ghcr.io/"), "latest", small)
    mirror = start_mirror({"upstreams": {"docker.io": hub.upstream, "ghcr.io": hub.upstream}})
    with ExitStack() as stack:
        yield Party(make(tmp_path / "client", mirror.url, stack), mirror, hub), names


def test_pulls_cold_warm_and_with_the_upstream_gone(
    request: pytest.FixtureRequest, party: tuple[Party, list[str]], small: Image
) -> None:
    at, names = party
    cold = [at.pull(name, small) for name in names]
    asked = at.hub.journals()
    warm = [at.pull(name, small) for name in names]
    assert at.hub.journals() == asked
    at.hub.refuse()
    gone = [at.pull(name, small) for name in names]
    client = request.node.callspec.params["party"]
    for number, name in enumerate(names):
        print(f"{client:<20} {name:<18} {cold[number]:8.2f} {warm[number]:8.2f} {gone[number]:8.2f}")


def test_it_is_put_where_an_installed_client_reads_it(tmp_path: Path) -> None:
    require(docker.why_not())
    place = tmp_path / "etc-docker"
    place.mkdir()
    (place / "daemon.json").write_text('{"log-driver": "local"}')
    start = own_mounts(tmp_path, {Path("/etc/docker"): place})
    done = subprocess.run(
        [*start, sys.executable, "-m", "mirror", "setup", "docker", "--write"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "wrote /etc/docker/daemon.json (before: daemon.json.bak1)\n", done.stderr
    assert json.loads((place / "daemon.json").read_text()) == {
        "log-driver": "local",
        "registry-mirrors": ["http://127.0.0.1:5000"],
    }
