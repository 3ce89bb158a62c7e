"""Podman pulling a zstd:chunked image in parts: what it misses of a layer in one answer, and one transfer upstream."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from . import images, podman
from .conftest import require
from .images import Image
from .mirror_process import MirrorProcess, StartMirror
from .podman import Podman
from .registry import RealRegistry
from .skopeo import Skopeo
from .tap import Asked, Tap

OLD, NEW = "library/old", "library/new"
SIZES = {"a": 300_000, "b": 1_000_000, "c": 300_000, "d": 700_000, "e": 300_000}
CHANGED = ("b", "d")


@dataclass(frozen=True)
class Layer:
    """The compressed layer of an image on the registry."""

    digest: str
    size: int


@dataclass
class Site:
    """Podman, a tap, a mirror, and upstream of it a registry with two images whose layers differ in two files."""

    registry: RealRegistry
    mirror: MirrorProcess
    tap: Tap
    podman: Podman
    images: dict[str, Image]
    layers: dict[str, Layer]

    def pull(self, name: str) -> list[Asked]:
        """Pulls an image; returns what was asked for of its layer."""
        before = len(self.tap.asked)
        self.podman.pull(name)
        assert self.podman.image_id(name) == self.images[name].config.digest
        assert self.podman.layers(name) == self.images[name].diff_ids
        return [asked for asked in self.tap.asked[before:] if asked.digest == self.layers[name].digest]

    def sent(self, name: str) -> float:
        """What upstream has sent of an image's layer, measured by that layer."""
        layer = self.layers[name]
        return self.registry.sent(f"/v2/{name}/blobs/{layer.digest}") / layer.size


def files(version: str) -> dict[str, bytes]:
    """The files of an image: those that change have bytes of their version."""
    seeds = {name: f"{name} {version if name in CHANGED else ''}" for name in SIZES}
    return {f"data/{name}": random.Random(seeds[name]).randbytes(size) for name, size in SIZES.items()}


def chunk(registry: RealRegistry, skopeo: Skopeo, name: str, image: Image) -> Layer:
    """Puts an image on the registry with a layer in zstd:chunked, as Skopeo makes it."""
    registry.fill("plain", "latest", image)
    address = f"docker://127.0.0.1:{registry.port}"
    compress = ("--preserve-digests=false", "--dest-tls-verify=false", "--dest-compress-format=zstd:chunked")
    skopeo.copy(f"{address}/plain:latest", f"{address}/{name}:latest", *compress)
    (layer,) = cast(list[dict[str, Any]], skopeo.inspect(f"{address}/{name}:latest", "--raw")["layers"])
    assert layer["mediaType"].endswith("+zstd")
    return Layer(layer["digest"], layer["size"])


@pytest.fixture
def site(
    open_registry: RealRegistry, skopeo_client: Skopeo, start_mirror: StartMirror, tmp_path: Path
) -> Iterator[Site]:
    """The registry serves, the cache is empty."""
    require(podman.why_no_parts(tmp_path / "probe"))
    made = {name: images.image_of(files(name)) for name in (OLD, NEW)}
    layers = {name: chunk(open_registry, skopeo_client, name, image) for name, image in made.items()}
    mirror = start_mirror({"upstreams": {"docker.io": {"endpoints": [open_registry.url], "private_network": True}}})
    with ExitStack() as stack:
        tap = stack.enter_context(Tap(mirror.url))
        client = stack.enter_context(Podman(tmp_path / "podman", tap.url, "overlay"))
        yield Site(open_registry, mirror, tap, client, made, layers)


def test_podman_pulls_parts_cold_warm_and_with_the_upstream_gone(site: Site) -> None:
    for situation in ("cold", "warm", "gone"):
        if situation == "gone":
            site.registry.stop()
        asked = site.pull(OLD)
        for name, data in files(OLD).items():
            assert site.podman.file(name) == data
        site.podman.remove(OLD)
        # The table of contents, at the end of the layer; then all files in one answer.
        assert [one.status for one in asked] == [206, 206], situation
        assert asked[1].content_type.startswith("multipart/byteranges; boundary=")
        assert len(asked[1].ranges) >= len(SIZES)
        assert site.sent(OLD) == 1.0


def test_podman_fetches_what_it_misses_of_a_layer_and_the_mirror_all_of_it_once(site: Site) -> None:
    site.pull(OLD)
    _, missed = site.pull(NEW)

    assert missed.status == 206
    assert missed.content_type.startswith("multipart/byteranges; boundary=")
    wanted = sum(map(len, missed.ranges))
    changed = sum(SIZES[name] for name in CHANGED)
    assert changed <= wanted < changed + 100_000
    assert (site.sent(OLD), site.sent(NEW)) == (1.0, 1.0)
