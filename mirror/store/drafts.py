"""Small files that are written whole: as a draft, which then takes the name. These block, and raise OSError."""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import suppress

from mirror.store import files
from mirror.store.folder import Folder

_ENDING = ".new"
_SECONDS = 60.0
# After which whoever wrote a draft is dead.

DRAFT = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(_ENDING)}")
"""How drafts are called."""


def replace(folder: Folder, name: str, data: bytes, modified: float | None = None) -> None:
    """Write a whole small file so that a reader, or a crash, sees the old one or the new one.

    `modified` is the time that it is of (epoch seconds), now if there is none.
    """
    draft = _draft_of(name)
    fd = folder.create(draft)
    try:
        files.write_all(fd, data)
        if modified is not None:
            # A file system that takes no times says one that is a little later.
            with suppress(OSError):
                files.set_modified(fd, modified)
        os.fsync(fd)
        folder.move(draft, fd, folder, name)
    except BaseException:
        folder.remove(draft)
        raise
    finally:
        os.close(fd)


def is_writable(folder: Folder) -> bool:
    """Tell whether the disk takes new files, by writing one."""
    try:
        draft = _draft_of("probe")
        fd = folder.create(draft)
        try:
            files.write_all(fd, bytes(4096))
        finally:
            os.close(fd)
            folder.remove(draft)
    except OSError:
        return False
    return True


def sweep(folder: Folder) -> None:
    """Remove what a writer of small files left behind a minute ago, longer, or in the future: it is dead."""
    for entry in list(folder.entries()):
        if entry.name.endswith(_ENDING) and abs(time.time() - entry.modified) > _SECONDS:
            folder.remove(entry.name)


def _draft_of(name: str) -> str:
    return f".{name}.{secrets.token_hex(4)}{_ENDING}"
