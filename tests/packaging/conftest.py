"""Fixtures: the image, built once; a Docker daemon that has it; a registry for it to mirror."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror import __version__
from tests.e2e import docker, images, registry
from tests.e2e.conftest import require
from tests.e2e.images import Flavour, Image
from tests.e2e.registry import Open, RealRegistry

from . import buildah
from .buildah import Buildah
from .containers import Containers

SHIPPED = "library/shipped"
REVISION = "0123456789abcdef"


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of the repository's Dockerfile, as `docker load` takes it."""
    require(buildah.why_not())
    directory = tmp_path_factory.mktemp("image")
    with Buildah(directory / "build") as builder:
        builder.build(directory / "mirror.tar", {"VERSION": __version__, "REVISION": REVISION})
    return directory / "mirror.tar"


@pytest.fixture(scope="module")
def containers(image_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """A Docker daemon that has the image."""
    require(docker.why_not())
    with Containers(tmp_path_factory.mktemp("containers") / "docker", image_archive) as running:
        yield running


@pytest.fixture(scope="session")
def shipped() -> Image:
    """An image with one layer that no socket's buffers hold."""
    require(images.why_not())
    return images.build_image([16 * 2**20], Flavour.OCI, seed="shipped")


@pytest.fixture(scope="module")
def upstream(shipped: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A running registry for everybody, which has the image `shipped`."""
    require(registry.why_not())
    with RealRegistry(tmp_path_factory.mktemp("upstream"), Open()) as running:
        running.fill(SHIPPED, "latest", shipped)
        yield running
