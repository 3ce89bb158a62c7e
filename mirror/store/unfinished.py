"""The partial files as whoever needs room sees them: what they will take of the disk, and which nobody writes.

All functions block, and raise OSError.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from mirror.store import files, pages
from mirror.store.folders import Folders
from mirror.store.place import OURS

_FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What each partial file will take in the end, how much of that is not on disk yet, and what is free; in bytes."""

    sizes: Mapping[str, int]
    unwritten: int
    free: int


def survey(folders: Folders, but: str) -> Survey:
    """Look at all partial files but one, whichever process writes them."""
    sizes: dict[str, int] = {}
    unwritten = 0
    for entry in folders.partial.entries():
        if entry.name != but:
            page = pages.unpack(folders.run.read(entry.name) or b"")
            total = entry.size if page is None else max(entry.size, page.reserved)
            sizes[entry.name] = total
            unwritten += total - entry.size
    return Survey(sizes, unwritten, folders.partial.free_space())


def drop_leftovers(folders: Folders, but: str) -> int:
    """Remove partial files that nobody writes, one excepted, and return how many bytes they had."""
    freed = 0
    if not folders.has_locks:
        return freed
    for entry in list(folders.partial.entries()):
        # Those who read along with one that died a moment ago are about to take over.
        is_fresh = abs(time.time() - entry.modified) < _FRESH_SECONDS
        fd = (
            None
            if entry.name == but or is_fresh or not OURS.fullmatch(entry.name)
            else folders.partial.claim(entry.name)
        )
        if fd is not None:
            folders.run.remove(entry.name)
            folders.partial.remove(entry.name)
            files.close(fd)
            freed += entry.size
    return freed
