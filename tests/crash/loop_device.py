"""A small disk of its own in a file, whose content at any moment is what the kernel has written by then."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = "40M"
# The longest that the kernel may take: what is not made durable stays in memory for all that a test lasts.
_OPTIONS = "loop,commit=300,noatime"


def format_disk(image: Path) -> None:
    """Make an empty file system."""
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard", "-J", "size=4", str(image), _SIZE)


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """Have the file system of an image in a folder beside it."""
    folder = image.with_suffix(".mounted")
    folder.mkdir()
    try:
        _run("mount", "-t", "ext4", "-o", _OPTIONS, str(image), str(folder))
        try:
            yield folder
        finally:
            # The device goes with the last mount.
            _run("umount", str(folder))
    finally:
        folder.rmdir()


def copy_disk(image: Path, target: Path) -> None:
    """Copy an image, mounted or not."""
    _run("cp", "--sparse=always", str(image), str(target))


def can_mount(place: Path) -> bool:
    """Tell whether there are loop devices, and we may use them, by using one."""
    image = place / "trial"
    try:
        format_disk(image)
        with mounted(image):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
