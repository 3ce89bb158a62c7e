"""The folder of a table: made for the owner alone, and set aside when it is broken. Both block, and raise OSError."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path) -> os.stat_result:
    """Make a folder for the owner alone, unless something has its name; return what has it, links not followed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(path, mode=0o700)
    return os.lstat(path)


def set_aside(path: Path, found: os.stat_result) -> None:
    """Give what was `found` at this path another name, unless another process has done so already."""
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(found, os.lstat(path)):
                os.rename(path, path.with_name(f"{path.name}.broken-{time.time_ns()}"))
    finally:
        os.close(parent)
