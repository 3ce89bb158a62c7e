"""A blob whose file rots, and a disk that refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.scrubbing.scrub import StoredFile
from mirror.store.inventory import StoredInventory
from tests.unit.store.cabinet import Cabinet

DATA = b"the bytes of a blob" * 1000
DIGEST = Digest.of(DATA)


def inventory_of(cabinet: Cabinet) -> StoredInventory:
    """Return what is at rest there, as a scrub sees it."""
    return StoredInventory(
        cabinet.folders, cabinet.committed, cabinet.index, cabinet.records, cabinet.threads.scrubbing
    )


def stored(digest: Digest = DIGEST, size: int = len(DATA)) -> StoredFile:
    """Return the file as it is listed."""
    return StoredFile(digest, size, Kind.BLOB)


def rewrite(file: Path, data: bytes) -> None:
    """Write other bytes into the very file, as rot does."""
    file.chmod(0o600)
    with file.open("r+b") as opened:
        opened.write(data)
        opened.truncate()


def refuse(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, code: int) -> None:
    """Have every such call fail with this error."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(owner, name, refused)
