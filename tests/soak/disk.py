"""A small disk for the cache alone, so that it can be full."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PIECE = bytes(64 * 1024)


@contextmanager
def mounted(folder: Path, mebibytes: int) -> Iterator[None]:
    """Have a disk of this size, in memory, at `folder` within this context; for root only. None if the size is 0."""
    folder.mkdir()
    if not mebibytes:
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def inflate(balloon: Path) -> None:
    """Let this file take all the room there is."""
    with balloon.open("wb", buffering=0) as file:
        try:
            while file.write(_PIECE):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
