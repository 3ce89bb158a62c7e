"""What is in the cache folder and not the mirror's: it is never served, followed or removed, only named."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mirror.errors import InvalidDigest
from mirror.oci.digest import Digest
from mirror.store.blobs import OURS
from mirror.store.files import DRAFT, Folder
from mirror.store.folders import ALGORITHMS, Folders

_FILES = {"oci-layout", "index.json"}
_FOLDERS = {"blobs", "partial", "run", "index", "records"}
_SYSTEM = {"lost+found"}
_IN_RUN = re.compile(r"room|scrub|scrubbing|process-[0-9a-f]+")


def strangers(folders: Folders) -> Iterator[str]:
    """Yield the paths below the cache folder, in no order; blocks."""
    for name, is_file in folders.root.names():
        if name not in (_FILES if is_file else _FOLDERS | _SYSTEM) and not name.endswith(DRAFT):
            yield name
    for algorithm in ALGORITHMS:
        for name, is_file in folders.blobs[algorithm].names():
            if not is_file or not _is_digest(algorithm, name):
                yield f"blobs/{algorithm}/{name}"
    yield from _unlike("partial", folders.partial, OURS)
    yield from _unlike("run", folders.run, re.compile(f"{OURS.pattern}|{_IN_RUN.pattern}"))


def _unlike(path: str, folder: Folder, known: re.Pattern[str]) -> Iterator[str]:
    for name, is_file in folder.names():
        if not (is_file and (known.fullmatch(name) or name.endswith(DRAFT))):
            yield f"{path}/{name}"


def _is_digest(algorithm: str, name: str) -> bool:
    try:
        Digest(algorithm, name)
    except InvalidDigest:
        return False
    return True
