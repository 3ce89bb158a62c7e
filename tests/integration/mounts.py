"""Small disks of a test's own, which can be filled, run out of names and be made read-only. They take root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE = 0x10


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[Path]:
    """Have a file system in memory at `path`, with these options; skips the test where mounting is not permitted."""
    path.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        # Lazily: nothing of a test that failed shall keep it.
        subprocess.run(["umount", "-l", path], check=True)


def make_read_only(path: Path) -> None:
    """Let nobody write to the file system at `path`; it must not be in use."""
    subprocess.run(["mount", "-o", "remount,ro", path], check=True)


def fill_up(disk: Path, leave: int = 0) -> Path:
    """Write a file that takes all of the disk but `leave` bytes, and return it."""
    balloon = disk / "balloon"
    status = os.statvfs(disk)
    with balloon.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize - leave))
    return balloon


def use_up_names(disk: Path) -> list[Path]:
    """Make empty files until there can be no further one, and return them."""
    made: list[Path] = []
    while True:
        try:
            (disk / f"nothing-{len(made)}").touch(exist_ok=False)
        except OSError:
            return made
        made.append(disk / f"nothing-{len(made)}")


@contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Let nobody, root included, make or remove anything in `folder`; skips the test where that cannot be had."""
    try:
        _set_immutable(folder, True)
    except OSError as error:
        pytest.skip(f"folders cannot be made immutable here: {error.strerror}")
    try:
        yield
    finally:
        _set_immutable(folder, False)


def _set_immutable(folder: Path, wanted: bool) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))
        flags = flags | _IMMUTABLE if wanted else flags & ~_IMMUTABLE
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags))
    finally:
        os.close(descriptor)
