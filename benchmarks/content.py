"""What the upstream of the benchmarks holds: a few images, the same bytes in every run, written once.

The files lie where requests ask for them, `v2/bench/NAME/blobs/DIGEST`, so that any server of files is a registry.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale import MIB, Scale
from tests.fakes.content import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

TAG = "latest"


@dataclass(frozen=True, slots=True)
class Blob:
    """Where a blob is asked for, and its length."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one repository: `name` is what comes after the registry, without the tag."""

    name: str
    digest: str
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def by_tag(self) -> str:
        """The path of its manifest, by tag."""
        return f"/v2/{self.name}/manifests/{TAG}"

    @property
    def by_digest(self) -> str:
        """The path of its manifest, by digest."""
        return f"/v2/{self.name}/manifests/{self.digest}"


@dataclass(frozen=True, slots=True)
class Content:
    """The images there are, each named for its layers."""

    folder: Path
    huge: Image
    large: Image
    eight: Image
    small: Image


def content(folder: Path, scale: Scale) -> Content:
    """Return the images of this scale below `folder`, written if they are not there yet."""
    images = {
        "huge": [scale.huge],
        "large": [scale.large],
        "eight": [scale.medium] * 8,
        "small": [MIB] * scale.small,
    }
    root = folder / scale.name
    return Content(root, **{name: _image(root, name, sizes) for name, sizes in images.items()})


def _image(root: Path, name: str, sizes: list[int]) -> Image:
    """Read an image, or write it: under another name first, so that what is there is whole."""
    home = root / "v2" / "bench" / name
    if not home.exists():
        making = root / "making"
        shutil.rmtree(making, ignore_errors=True)
        _write(making, name, sizes)
        home.parent.mkdir(parents=True, exist_ok=True)
        making.rename(home)
    return _read(home, name)


def _read(home: Path, name: str) -> Image:
    data = (home / "manifests" / TAG).read_bytes()
    document = json.loads(data)
    config, *layers = (
        Blob(f"/v2/bench/{name}/blobs/{one['digest']}", one["size"])
        for one in (document["config"], *document["layers"])
    )
    return Image(f"bench/{name}", f"sha256:{hashlib.sha256(data).hexdigest()}", config, tuple(layers))


def _write(home: Path, name: str, sizes: list[int]) -> None:
    blobs, manifests = home / "blobs", home / "manifests"
    blobs.mkdir(parents=True)
    manifests.mkdir()
    layers = [
        {"mediaType": OCI_LAYER, "digest": _write_blob(blobs, _noise(f"{name}/{number}", size)), "size": size}
        for number, size in enumerate(sizes)
    ]
    described = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": _rootfs(layers)}).encode()
    config = {"mediaType": OCI_CONFIG, "digest": _write_blob(blobs, iter([described])), "size": len(described)}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    data = json.dumps(document, indent=3).encode()
    (manifests / TAG).write_bytes(data)
    (manifests / f"sha256:{hashlib.sha256(data).hexdigest()}").write_bytes(data)


def _rootfs(layers: list[dict[str, object]]) -> dict[str, object]:
    return {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}


def _write_blob(folder: Path, pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    writing = folder / "writing"
    with writing.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    name = f"sha256:{digest.hexdigest()}"
    writing.rename(folder / name)
    return name


def _noise(seed: str, size: int) -> Iterator[bytes]:
    source = random.Random(seed)  # noqa: S311  # the same bytes each time, and no secret
    for start in range(0, size, MIB):
        yield source.randbytes(min(MIB, size - start))
