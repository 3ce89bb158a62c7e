"""Images made without any engine: busybox in a layer, layers of noise on top, the same bytes every time."""

import gzip
import hashlib
import io
import json
import random
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"


class Flavour(Enum):
    """The two families of media types, in the order manifest, config, layer."""

    DOCKER = (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    )
    OCI = (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    )


@dataclass(frozen=True)
class Content:
    """Bytes with their media type: a manifest, a config or a layer."""

    media_type: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        """The name of these bytes."""
        return digest_of(self.data)

    @property
    def descriptor(self) -> dict[str, object]:
        """How a manifest or an index names this content."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True)
class Image:
    """One image for one architecture."""

    manifest: Content
    config: Content
    layers: tuple[Content, ...]
    diff_ids: tuple[str, ...]

    @property
    def blobs(self) -> tuple[Content, ...]:
        """All that must be in a repository before the manifest."""
        return (self.config, *self.layers)

    @property
    def manifests(self) -> tuple[Content, ...]:
        """The manifests in the order a registry takes them."""
        return (self.manifest,)

    def image_for(self, architecture: str) -> "Image":
        """What a client of this architecture gets."""
        return self


@dataclass(frozen=True)
class Index:
    """One image for several architectures."""

    manifest: Content
    by_architecture: dict[str, Image]

    @property
    def blobs(self) -> tuple[Content, ...]:
        """Each blob of each image once."""
        images = self.by_architecture.values()
        return tuple({blob.digest: blob for image in images for blob in image.blobs}.values())

    @property
    def manifests(self) -> tuple[Content, ...]:
        """The manifests in the order a registry takes them: the index last."""
        return (*(image.manifest for image in self.by_architecture.values()), self.manifest)

    def image_for(self, architecture: str) -> Image:
        """What a client of this architecture gets."""
        return self.by_architecture[architecture]


def digest_of(data: bytes) -> str:
    """The sha256 digest, as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def build_image(
    layer_sizes: Sequence[int] = (),
    flavour: Flavour = Flavour.DOCKER,
    architecture: str = "amd64",
    seed: str = "",
) -> Image:
    """Busybox, plus a layer of incompressible bytes for each size; other seeds give other layers."""
    archives = [_busybox()]
    archives += [_noise(f"{seed}.{architecture}.{n}", size) for n, size in enumerate(layer_sizes)]
    return _image(archives, flavour, architecture)


def image_of(files: dict[str, bytes]) -> Image:
    """An OCI image of one layer with these files."""
    return _image([_archive(files, links={})], Flavour.OCI, "amd64")


def build_index(layer_sizes: Sequence[int] = (), seed: str = "", flavour: Flavour = Flavour.OCI) -> Index:
    """The same image for amd64 and arm64 under one OCI index, or Docker's list of manifests."""
    images = {name: build_image(layer_sizes, flavour, name, seed) for name in ("amd64", "arm64")}
    media_type = INDEX_TYPE if flavour is Flavour.OCI else LIST_TYPE
    manifests = [
        {**image.manifest.descriptor, "platform": {"os": "linux", "architecture": name}}
        for name, image in images.items()
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}
    return Index(Content(media_type, _json(document)), images)


def why_not() -> str | None:
    """Why this machine cannot build images, or None."""
    return None if shutil.which("busybox") else "busybox is not installed"


def _image(archives: Sequence[bytes], flavour: Flavour, architecture: str) -> Image:
    manifest_type, config_type, layer_type = flavour.value
    diff_ids = tuple(digest_of(archive) for archive in archives)
    layers = tuple(Content(layer_type, gzip.compress(archive, 6, mtime=0)) for archive in archives)
    config = Content(config_type, _config(architecture, diff_ids))
    document = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config.descriptor,
        "layers": [layer.descriptor for layer in layers],
    }
    return Image(Content(manifest_type, _json(document)), config, layers, diff_ids)


def _busybox() -> bytes:
    program = shutil.which("busybox")
    assert program is not None, why_not()
    return _archive({"bin/busybox": Path(program).read_bytes()}, links={"bin/sh": "busybox"})


def _noise(seed: str, size: int) -> bytes:
    return _archive({f"noise/{seed}": random.Random(seed).randbytes(size)}, links={})


def _archive(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return output.getvalue()


def _config(architecture: str, diff_ids: Sequence[str]) -> bytes:
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    return _json(document)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
