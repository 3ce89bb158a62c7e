"""Every file call of the mirror. They block: call them in threads.

Names are relative to an open folder and never follow a symbolic link, so nothing planted in the cache leads
outside it. All raise OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file in a folder: its name, size in bytes, and when it was last written (epoch seconds)."""

    name: str
    size: int
    modified: float


class Folder:
    """A folder held open; created for the owner alone if it is missing."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)

    def open(self, name: str) -> tuple[int, int] | None:
        """Return descriptor and size of a regular file open for reading, None if there is none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a symbolic link, a socket
                return None
            raise
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            return None
        return fd, status.st_size

    def create(self, name: str) -> int:
        """Return the descriptor of a new, empty file, in place of any that had its name."""
        self.remove(name)
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, dir_fd=self._fd)

    def move(self, name: str, fd: int, target: Folder, new_name: str) -> None:
        """Give the file that is open as `fd` its name in `target`, durably, replacing what had it.

        Raises FileNotFoundError if `name` is another file by now.
        """
        if not os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=self._fd, follow_symlinks=False)):
            raise FileNotFoundError(errno.ENOENT, "the file lost its name to another", name)
        os.rename(name, new_name, src_dir_fd=self._fd, dst_dir_fd=target._fd)
        os.fsync(target._fd)

    def remove(self, name: str) -> None:
        """Take the name away, if it is there; whoever has the file open keeps it."""
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return

    def entries(self) -> Iterator[FileEntry]:
        """Yield the regular files of the folder, in no order; links and subfolders are passed over."""
        with os.scandir(self._fd) as found:
            for entry in found:
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield FileEntry(entry.name, status.st_size, status.st_mtime)

    def replace(self, name: str, data: bytes) -> None:
        """Write a whole small file so that a reader, or a crash, sees the old one or the new one."""
        draft = f".{name}.new"
        fd = self.create(draft)
        try:
            write_all(fd, data)
            os.fsync(fd)
            self.move(draft, fd, self, name)
        finally:
            os.close(fd)

    def read(self, name: str) -> bytes | None:
        """Return the whole content of a file, None if there is none."""
        opened = self.open(name)
        if opened is None:
            return None
        fd, size = opened
        try:
            return os.pread(fd, size, 0)
        finally:
            os.close(fd)

    def lock(self) -> bool:
        """Take the folder for this process until it is closed; False if another process has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def readable(self) -> bool:
        """Tell whether the folder can be read, by reading from it."""
        try:
            with os.scandir(self._fd) as found:
                next(found, None)
        except OSError:
            return False
        return True

    def writable(self) -> bool:
        """Tell whether the disk takes new files, by writing one; once at a time."""
        try:
            fd = self.create(".probe")
            try:
                write_all(fd, bytes(4096))
            finally:
                os.close(fd)
                self.remove(".probe")
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the folder and its lock."""
        os.close(self._fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` where the descriptor stands."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def seal(fd: int) -> None:
    """Make the content durable and the file read-only."""
    os.fsync(fd)
    os.fchmod(fd, 0o444)


def in_memory(fd: int, start: int, stop: int) -> bool:
    """Tell whether reading the range would wait for the disk; False also where the file system cannot tell.

    Looks at both ends of the range: the kernel reads ahead in one piece what lies between.
    """
    probe = bytearray(1)
    try:
        return all(os.preadv(fd, [probe], at, os.RWF_NOWAIT) for at in (start, stop - 1))
    except OSError:
        return False


def read_ahead(fd: int, start: int, stop: int) -> None:
    """Bring the range into memory."""
    os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_WILLNEED)
    for at in range(start, stop, 1024 * 1024):
        os.pread(fd, min(1024 * 1024, stop - at), at)
