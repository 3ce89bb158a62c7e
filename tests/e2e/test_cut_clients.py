"""Real clients that lose the mirror at half of a layer: each gets its image, and upstream sends each blob once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import images
from .conftest import require
from .containerd import Containerd, CtrError, StartContainerd
from .cutter import Brake, Cut, Cutter
from .docker import StartDocker
from .hub import Hub
from .images import Image
from .mirror_process import MirrorProcess, StartMirror
from .podman import PodmanError, StartPodman
from .skopeo import Skopeo, SkopeoError
from .test_skopeo import assert_copied

LARGE = "library/large"


@dataclass(frozen=True)
class Line:
    """The way from a client to Docker Hub: through a cutter, then through a mirror."""

    cutter: Cutter
    hub: Hub
    cuts: set[str]
    image: Image

    def assert_cut_and_sent_once(self) -> None:
        """The large layer was cut; and of every blob upstream has sent as many bytes as it has."""
        assert self.cuts == {self.image.layers[-1].digest}
        for blob in self.image.blobs:
            assert self.hub.registry.sent(f"/v2/{LARGE}/blobs/{blob.digest}") == len(blob.data)


@pytest.fixture(scope="session")
def large() -> Image:
    """A Docker image whose last layer, of 12 MiB, is the only one that is cut."""
    require(images.why_not())
    return images.build_image([100_000, 12 * 2**20], seed="large")


@pytest.fixture
def cut() -> Cut:
    """How the client's connection ends, where a test does not say."""
    return Cut.RESET


@pytest.fixture(params=["cold", "warm"])
def line(request: pytest.FixtureRequest, hub: Hub, start_mirror: StartMirror, large: Image, cut: Cut) -> Iterator[Line]:
    """A cold mirror has no more than three quarters of the layer when the client is cut, a warm one has all."""
    hub.registry.fill(LARGE, "latest", large)
    cuts: set[str] = set()
    with ExitStack() as stack:
        brake = stack.enter_context(Brake(hub.registry.url, cuts))
        endpoint = brake.url if request.param == "cold" else hub.registry.url
        mirror = start_mirror({"upstreams": {"docker.io": {**hub.upstream, "endpoints": [endpoint]}}})
        if request.param == "warm":
            warm_up(mirror, large)
        yield Line(stack.enter_context(Cutter(mirror.url, cut, cuts)), hub, cuts, large)


def warm_up(mirror: MirrorProcess, image: Image) -> None:
    """Has the mirror fetch everything, as any client does."""
    tag = mirror.ask("GET", f"/v2/{LARGE}/manifests/latest", {"Accept": image.manifest.media_type})
    assert tag.body == image.manifest.data
    for blob in image.blobs:
        assert mirror.ask("GET", f"/v2/{LARGE}/blobs/{blob.digest}").body == blob.data


def twice_at_most(pull: Callable[[], None], failure: type[Exception]) -> None:
    """A pull by a client that may give up when it is cut: the next one has to succeed."""
    try:
        pull()
    except failure:
        pull()


def assert_pulled(client: Containerd, name: str, image: Image) -> None:
    """containerd has the manifest under its tag, and each blob under its digest."""
    assert client.digest(name) == image.manifest.digest
    for content in (*image.manifests, *image.blobs):
        assert client.content(content.digest) == content.data


def test_docker_finishes_in_one_go(line: Line, start_docker: StartDocker) -> None:
    docker = start_docker(line.cutter.url)
    docker.pull(LARGE)
    assert not docker.fell_back()
    assert docker.image_id(LARGE) == line.image.config.digest
    assert docker.layers(LARGE) == line.image.diff_ids
    line.assert_cut_and_sent_once()


@pytest.mark.parametrize("cut", [Cut.END], ids=["end"])
def test_containerd_finishes_in_one_go(line: Line, start_containerd: StartContainerd) -> None:
    containerd = start_containerd(line.cutter.url)
    containerd.pull(LARGE)
    assert_pulled(containerd, LARGE, line.image)
    line.assert_cut_and_sent_once()


def test_containerd_goes_on_after_a_reset_at_the_next_pull(line: Line, start_containerd: StartContainerd) -> None:
    containerd = start_containerd(line.cutter.url)
    twice_at_most(lambda: containerd.pull(LARGE), CtrError)
    assert_pulled(containerd, LARGE, line.image)
    line.assert_cut_and_sent_once()


def test_skopeo_succeeds_at_the_next_copy(line: Line, skopeo_client: Skopeo, tmp_path: Path) -> None:
    source = f"docker://{line.cutter.url.removeprefix('http://')}/{LARGE}"
    twice_at_most(lambda: skopeo_client.copy(source, f"dir:{tmp_path}/copy"), SkopeoError)
    assert_copied(tmp_path / "copy", line.image)
    line.assert_cut_and_sent_once()


def test_podman_succeeds_at_the_next_pull(line: Line, start_podman: StartPodman) -> None:
    podman = start_podman(line.cutter.url)
    twice_at_most(lambda: podman.pull(LARGE), PodmanError)
    assert podman.image_id(LARGE) == line.image.config.digest
    assert podman.layers(LARGE) == line.image.diff_ids
    line.assert_cut_and_sent_once()
