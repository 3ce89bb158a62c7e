"""The folders of the cache, opened once and for all: whatever happens to their names, they stay the same."""

from __future__ import annotations

from pathlib import Path

from mirror.oci.digest import Digest
from mirror.store.folder import Folder

ALGORITHMS = ("sha256", "sha512")


class Folders:
    """The folders under `path`; there are none before `start`."""

    root: Folder
    partial: Folder
    run: Folder
    all_blobs: Folder
    listings: Folder
    has_locks = True
    """False on file systems without locks: there, each writer has a file of its own and nobody reads along."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.blobs: dict[str, Folder] = {}

    def start(self) -> None:
        """Make and open them; blocks, raises OSError."""
        self.root = Folder(self._path)
        self.partial = Folder(self._path / "partial")
        self.run = Folder(self._path / "run")
        self.all_blobs = Folder(self._path / "blobs")
        self.listings = Folder(self._path / "listings")
        for algorithm in ALGORITHMS:
            self.blobs[algorithm] = Folder(self._path / "blobs" / algorithm)
        self.has_locks = self.run.can_lock()

    def of(self, digest: Digest) -> Folder:
        """Return the folder that committed files with this algorithm are in."""
        return self.blobs[digest.algorithm]

    def close(self) -> None:
        """Let go of them."""
        for folder in (self.root, self.partial, self.run, self.all_blobs, self.listings, *self.blobs.values()):
            folder.close()
