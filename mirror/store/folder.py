"""Folders held open: every call on a name in the cache. They block: call them in threads.

Names are relative to an open folder and never follow a symbolic link, so nothing planted in the cache leads
outside it. All raise OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mirror.store import files
from mirror.store.at_once import can_tell, can_tell_in, open_at_once

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_SETTLED_NS = 1_000_000_000
# Longer than the grain of any file system's clock.


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
        self._opens_at_once: bool | None = None
        """None until the first file was asked for."""

    def open(self, name: str, access: int = os.O_RDONLY) -> tuple[int, int] | None:
        """Return descriptor and size of a regular file open for reading, or with this access; None if there is none."""
        opened = self._open(name, os.open, access)
        if self._opens_at_once is None:
            # A folder that nothing is in yet is looked at most of all: for each blob of the first images.
            self._opens_at_once = can_tell_in(self._fd) if opened is None else can_tell(opened[0])
        return opened

    def open_at_once(self, name: str) -> tuple[int, int] | None:
        """As `open`, but raise BlockingIOError where it would wait, or nobody can tell: this may be called anywhere."""
        if not self._opens_at_once:
            raise BlockingIOError
        try:
            return self._open(name, open_at_once)
        except NotImplementedError:
            self._opens_at_once = False
            raise BlockingIOError from None

    def _open(self, name: str, call: Callable[..., int], access: int = os.O_RDONLY) -> tuple[int, int] | None:
        try:
            fd = call(name, access | os.O_NONBLOCK | _FLAGS, dir_fd=self._fd)
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
        """Return the descriptor of a new, empty file; raises FileExistsError."""
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, dir_fd=self._fd)

    def claim(self, name: str) -> int | None:
        """Return the descriptor of the file of this name, made if it is missing, and locked; None if another has it."""
        while True:
            fd = self.open_or_create(name)
            try:
                if not files.try_lock(fd):
                    os.close(fd)
                    return None
                if self.has(name, fd):
                    return fd
            except BaseException:
                os.close(fd)
                raise
            # Renamed or removed between opening and locking: whoever wrote to it would write to something else.
            os.close(fd)

    def open_or_create(self, name: str) -> int:
        """Return the descriptor of the regular file of this name, made if it is missing; anything else is removed."""
        while True:
            try:
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | _FLAGS, 0o600, dir_fd=self._fd)
            except PermissionError:
                # Sealed by a writer that died before it could move it.
                self._unseal(name)
                continue
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENXIO):  # a symbolic link, a socket
                    raise
                self.remove(name)
                continue
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return fd
            os.close(fd)
            self.remove(name)

    def can_lock(self) -> bool:
        """Tell whether the file system has locks; some network file systems have none."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in files.UNLOCKABLE
        files.unlock(self._fd)
        return True

    def is_locked(self, name: str) -> bool:
        """Tell whether somebody has the file of this name locked."""
        opened = self.open(name)
        if opened is None:
            return False
        try:
            return not files.try_lock(opened[0])
        finally:
            os.close(opened[0])

    def exists(self, name: str) -> bool:
        """Tell whether there is a regular file of this name."""
        status = self._status(name)
        return status is not None and stat.S_ISREG(status.st_mode)

    def _unseal(self, name: str) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=self._fd)
        try:
            if os.fstat(fd).st_mode & stat.S_IWUSR:
                raise PermissionError(errno.EACCES, "not ours to write", name)
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)

    def has(self, name: str, fd: int) -> bool:
        """Tell whether the file open as `fd` is the one of this name."""
        status = self._status(name)
        return status is not None and os.path.samestat(os.fstat(fd), status)

    def move(self, name: str, fd: int, target: Folder, new_name: str) -> None:
        """Give the file that is open as `fd` its name in `target`, durably, replacing what had it.

        Raises FileNotFoundError if `name` is another file by now.
        """
        if not self.has(name, fd):
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
        for entry in self._scan():
            if entry.is_file(follow_symlinks=False):
                # Another process may have taken it away since.
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield FileEntry(entry.name, status.st_size, status.st_mtime)

    def names(self) -> Iterator[tuple[str, bool]]:
        """Yield the name of everything in the folder, and whether it is a regular file."""
        for entry in self._scan():
            yield entry.name, entry.is_file(follow_symlinks=False)

    def _scan(self) -> Iterator[os.DirEntry[str]]:
        # On a descriptor of its own: two scans of one would share the place where they are.
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=self._fd)
        try:
            with os.scandir(fd) as found:
                yield from found
        finally:
            os.close(fd)

    def changed_at(self) -> int | None:
        """Return when a name in the folder came or went last (ns), None if that may be too lately to tell by."""
        changed_at = os.fstat(self._fd).st_mtime_ns
        return changed_at if time.time_ns() - changed_at > _SETTLED_NS else None

    def append(self, name: str, data: bytes) -> None:
        """Write `data` behind the content of a file, made if it is missing; in one piece if it is small."""
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | _FLAGS, 0o600, dir_fd=self._fd)
        try:
            files.write_all(fd, data)
        finally:
            os.close(fd)

    def size(self, name: str) -> int:
        """Return how many bytes the file of this name has, 0 if there is none."""
        status = self._status(name)
        return 0 if status is None else status.st_size

    def modified(self, name: str) -> float | None:
        """Return when the file of this name was last written (epoch seconds), None if there is none."""
        status = self._status(name)
        return None if status is None else status.st_mtime

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

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

    def free_space(self) -> int:
        """Return how many bytes the disk still takes from us."""
        status = os.fstatvfs(self._fd)
        return status.f_bavail * status.f_frsize

    def readable(self) -> bool:
        """Tell whether the folder can be read, by reading from it; that too many files are open is no fault of it."""
        try:
            next(self._scan(), None)
        except OSError as error:
            return error.errno in files.TOO_MANY_OPEN
        return True

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._fd)
