"""Content that a registry holds: blobs, manifests, images and indexes, the same bytes for the same seed."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

ALL_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
PLATFORMS = (("linux", "amd64"), ("linux", "arm64"), ("linux", "s390x"), ("linux", "ppc64le"))


@dataclass(frozen=True, slots=True)
class FakeBlob:
    """Opaque content under its digest; a test may lie about the digest."""

    digest: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class FakeManifest:
    """A manifest or an index: the exact bytes and the Content-Type they are served with."""

    digest: str
    media_type: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class FakeImage:
    """A manifest with the blobs it names."""

    manifest: FakeManifest
    config: FakeBlob
    layers: tuple[FakeBlob, ...]

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def blobs(self) -> tuple[FakeBlob, ...]:
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class FakeIndex:
    """An index with the images it names, one a platform."""

    manifest: FakeManifest
    images: tuple[FakeImage, ...]

    @property
    def digest(self) -> str:
        return self.manifest.digest


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def blob(size: int = 4096, seed: object = 0, algorithm: str = "sha256") -> FakeBlob:
    """A blob of that many bytes, determined by the seed."""
    data = random.Random(f"{seed}").randbytes(size)
    return FakeBlob(digest_of(data, algorithm), data)


def manifest(document: dict[str, object], media_type: str) -> FakeManifest:
    """Any JSON document as a manifest; indented, so that who re-encodes it changes its digest."""
    data = json.dumps(document, indent=3).encode()
    return FakeManifest(digest_of(data), media_type, data)


def descriptor(content: FakeBlob | FakeManifest, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": content.digest, "size": content.size}


def image(
    layers: int = 5,
    size: int | Sequence[int] = 4096,
    seed: object = 0,
    docker: bool = False,
    subject: FakeManifest | None = None,
) -> FakeImage:
    """An image with that many layers of that size (or with one layer for each size given)."""
    sizes = list(repeat(size, layers)) if isinstance(size, int) else list(size)
    made = tuple(blob(length, f"{seed}/layer/{number}") for number, length in enumerate(sizes))
    config = _config(made, seed)
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, DOCKER_CONFIG if docker else OCI_CONFIG),
        "layers": [descriptor(layer, DOCKER_LAYER if docker else OCI_LAYER) for layer in made],
    }
    if subject is not None:
        document["subject"] = descriptor(subject, subject.media_type)
    return FakeImage(manifest(document, media_type), config, made)


def index(*images: FakeImage, docker: bool = False) -> FakeIndex:
    """An index over these images (two small ones if none is given), platforms in the order of `PLATFORMS`."""
    held = images or tuple(image(seed=f"index/{number}", docker=docker) for number in range(2))
    children = [
        descriptor(child.manifest, child.manifest.media_type)
        | {"platform": {"os": system, "architecture": architecture}}
        for child, (system, architecture) in zip(held, PLATFORMS, strict=False)
    ]
    media_type = DOCKER_LIST if docker else OCI_INDEX
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": media_type, "manifests": children}
    return FakeIndex(manifest(document, media_type), held)


def _config(layers: Sequence[FakeBlob], seed: object) -> FakeBlob:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Labels": {"seed": f"{seed}"}},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    data = json.dumps(document).encode()
    return FakeBlob(digest_of(data), data)
