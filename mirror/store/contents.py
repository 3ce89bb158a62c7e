"""What stored manifests refer to, read from their files; it is no use of them."""

from __future__ import annotations

from cachetools import LRUCache

from mirror.oci.children import Child, described_in
from mirror.oci.digest import Digest
from mirror.oci.media_types import MAX_MANIFEST
from mirror.store import files
from mirror.store.folders import Folders
from mirror.store.threads import Threads

_REMEMBERED = 50_000
# Children, of all manifests together: about 20 MiB.


class StoredContents:
    """The children of manifests, those read lately from memory: content never changes."""

    def __init__(self, folders: Folders, threads: Threads) -> None:
        self._folders = folders
        self._threads = threads
        self._known: LRUCache[Digest, tuple[Child, ...]] = LRUCache(_REMEMBERED, lambda children: len(children) + 1)

    async def of(self, digest: Digest) -> tuple[Child, ...]:
        """Return what the manifest refers to; nothing where its right bytes are not stored. Raises StoreFailed."""
        known = self._known.get(digest)
        if known is None:
            known = await self._threads.run(self._read, digest)
            if known is None:
                return ()
            if len(known) < _REMEMBERED:
                self._known[digest] = known
        return known

    def _read(self, digest: Digest) -> tuple[Child, ...] | None:
        opened = self._folders.of(digest).open(digest.encoded)
        if opened is None:
            return None
        fd, size = opened
        try:
            data = files.read_at(fd, size, 0) if size <= MAX_MANIFEST else b""
        finally:
            files.close(fd)
        return described_in(data) if digest.verifies(data) else None
