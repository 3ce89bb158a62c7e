"""What is in the cache folder and not the mirror's: it is never served, followed or removed, only named."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mirror.errors import InvalidDigest
from mirror.oci.digest import Digest
from mirror.store.drafts import DRAFT
from mirror.store.folder import Folder
from mirror.store.folders import ALGORITHMS, Folders
from mirror.store.listings import OURS as LISTINGS
from mirror.store.place import OURS

_FILES = {"oci-layout", "index.json"}
_FOLDERS = {"blobs", "partial", "run", "index", "records", "listings"}
_SYSTEM = {"lost+found"}
_MOVED_ASIDE = re.compile(r"(index|records)\.broken-[0-9]+")
_IN_RUN = re.compile(r"room|entered|purges|watch|identity|saving|scrub|scrubbing|process-[0-9a-f]+")


def strangers(folders: Folders) -> Iterator[str]:
    """Yield the paths below the cache folder, in no order; blocks."""
    for name, is_file in folders.root.names():
        if not (_is_our_file(name) if is_file else _is_our_folder(name)):
            yield name
    for name, is_file in folders.all_blobs.names():
        if is_file or name not in ALGORITHMS:
            yield f"blobs/{name}"
    for algorithm in ALGORITHMS:
        for name, is_file in folders.blobs[algorithm].names():
            if not is_file or not _is_digest(algorithm, name):
                yield f"blobs/{algorithm}/{name}"
    yield from _unlike("partial", folders.partial, OURS)
    yield from _unlike("listings", folders.listings, LISTINGS)
    yield from _unlike("run", folders.run, re.compile(f"{OURS.pattern}|{_IN_RUN.pattern}"))


def _unlike(path: str, folder: Folder, known: re.Pattern[str]) -> Iterator[str]:
    for name, is_file in folder.names():
        if not (is_file and (known.fullmatch(name) or DRAFT.fullmatch(name))):
            yield f"{path}/{name}"


def _is_our_file(name: str) -> bool:
    return name in _FILES or DRAFT.fullmatch(name) is not None


def _is_our_folder(name: str) -> bool:
    return name in _FOLDERS | _SYSTEM or _MOVED_ASIDE.fullmatch(name) is not None


def _is_digest(algorithm: str, name: str) -> bool:
    try:
        Digest(algorithm, name)
    except InvalidDigest:
        return False
    return True
