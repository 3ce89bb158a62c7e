"""Fixtures: images, upstreams and clients, all in the test's own folder and gone after it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import containerd, docker, images, podman, registry, skopeo
from .containerd import Containerd, StartContainerd
from .docker import DockerDaemon, StartDocker
from .hub import Hub
from .images import Flavour, Image, Index
from .mirror_process import MirrorProcess, StartMirror
from .podman import Podman, StartPodman
from .registry import READER, Open, RealRegistry
from .site import Site, StartSite
from .skopeo import Skopeo

LAYERS = (1_000, 100_000, 1_500_000, 3_000_000)  # below and above what the mirror verifies before it sends


def require(*obstacles: str | None) -> None:
    """Skips the test if this machine lacks a part, and says which."""
    for obstacle in obstacles:
        if obstacle is not None:
            pytest.skip(obstacle)


@pytest.fixture(scope="session")
def small() -> Image:
    """A Docker image of five layers."""
    require(images.why_not())
    return images.build_image(LAYERS, seed="small")


@pytest.fixture(scope="session")
def small_oci() -> Image:
    """An OCI image of five layers."""
    require(images.why_not())
    return images.build_image(LAYERS, Flavour.OCI, seed="oci")


@pytest.fixture(scope="session")
def multi() -> Index:
    """An OCI index for amd64 and arm64."""
    require(images.why_not())
    return images.build_index(LAYERS[:2], seed="multi")


@pytest.fixture(scope="session")
def big() -> Image:
    """An OCI image with a layer of 64 MiB."""
    require(images.why_not())
    return images.build_image([64 * 2**20], Flavour.OCI, seed="big")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A registry that wants tokens, with its token service; both are empty and run."""
    require(registry.why_not())
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def open_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A running registry for everybody."""
    require(registry.why_not())
    with RealRegistry(tmp_path / "open", Open()) as running:
        yield running


@pytest.fixture
def private_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A running registry that only READER may read."""
    require(registry.why_not())
    with RealRegistry(tmp_path / "private", READER) as running:
        yield running


@pytest.fixture
def start_mirror(tmp_path: Path) -> Iterator[StartMirror]:
    """Starts mirrors with a given configuration; each must end well and without a traceback."""
    with ExitStack() as stack:
        started: list[MirrorProcess] = []

        def start(config: Mapping[str, object]) -> MirrorProcess:
            mirror = MirrorProcess(config, tmp_path / f"mirror{len(started)}")
            started.append(stack.enter_context(mirror))
            return mirror

        yield start
        for mirror in started:
            assert mirror.stop() == 0, mirror.log_text()
            assert "Traceback" not in mirror.log_text()


@pytest.fixture
def start_docker(tmp_path: Path) -> Iterator[StartDocker]:
    """Starts a Docker daemon that has the given URL as its registry mirror."""
    require(docker.why_not())
    with ExitStack() as stack:
        yield lambda mirror: stack.enter_context(DockerDaemon(tmp_path / "docker", mirror))


@pytest.fixture
def start_containerd(tmp_path: Path) -> Iterator[StartContainerd]:
    """Starts a containerd to which the given URL is Docker Hub."""
    require(containerd.why_not())
    with ExitStack() as stack:
        yield lambda mirror: stack.enter_context(Containerd(tmp_path / "containerd", mirror))


@pytest.fixture
def start_podman(tmp_path: Path) -> Iterator[StartPodman]:
    """Sets up a podman to which the given URL is Docker Hub."""
    require(podman.why_not())
    with ExitStack() as stack:
        yield lambda mirror: stack.enter_context(Podman(tmp_path / "podman", mirror))


@pytest.fixture
def start_site(hub: Hub, small: Image, multi: Index, start_mirror: StartMirror, start_docker: StartDocker) -> StartSite:
    """Starts Docker behind a mirror with the given `freshness`; the images are on the hub."""

    def start(freshness: Mapping[str, object]) -> Site:
        hub.registry.fill("library/small", "latest", small)
        hub.registry.fill("library/multi", "latest", multi)
        mirror = start_mirror({"freshness": freshness, "upstreams": {"docker.io": hub.upstream}})
        return Site(hub, mirror, start_docker(mirror.url))

    return start


@pytest.fixture
def skopeo_client(tmp_path: Path) -> Skopeo:
    """Skopeo, with nothing from the machine's own configuration."""
    require(skopeo.why_not())
    return Skopeo(tmp_path / "skopeo")
