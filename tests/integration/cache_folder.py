"""The cache folder as an operator sees it: plain files."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from tests.fakes.content import FakeImage


class CacheFolder:
    """What lies under `cache.path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, digest: str) -> Path:
        """Where the bytes of a digest are kept."""
        algorithm, _, encoded = digest.partition(":")
        return self.path / "blobs" / algorithm / encoded

    def partial(self, digest: str) -> Path:
        """Where they grow."""
        return self.path / "partial" / digest.replace(":", "-")

    def digests(self) -> set[str]:
        """Everything under `blobs/`."""
        return {f"{file.parent.name}:{file.name}" for file in self.path.glob("blobs/*/*")}

    def partials(self) -> list[str]:
        """Everything under `partial/`."""
        return sorted(file.name for file in (self.path / "partial").iterdir())

    def size(self) -> int:
        """Bytes of all files under `blobs/`."""
        return sum(file.stat().st_size for file in self.path.glob("blobs/*/*"))

    def mode(self, digest: str) -> int:
        """The permissions of a committed file."""
        return stat.S_IMODE(self.file(digest).stat().st_mode)

    def index(self) -> dict[str, Any]:
        """The content of `index.json`."""
        document: dict[str, Any] = json.loads((self.path / "index.json").read_bytes())
        return document


def all_of(*images: FakeImage) -> set[str]:
    """What the folder has of these images, as digests, once they are cached as a whole."""
    return {digest for image in images for digest in (image.digest, *(blob.digest for blob in image.blobs))}
