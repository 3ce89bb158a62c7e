"""An `os` for the store's file calls that writes down every change they make to the disk, in order."""

from __future__ import annotations

import itertools
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = tuple[Any, ...]
"""What was done, with whatever the simulated disk needs to do it again (see simulated.Disk)."""


class RecordingOs:
    """Behaves as the module `os`; files are named by a number that is never used again, unlike an inode's."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._known: dict[int, int] = {}
        self.log: list[Entry] = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and not _is_table(path, folder)):
            number = self._known[path.stat().st_ino] = next(self._numbers)
            mode = stat.S_IMODE(path.stat().st_mode)
            self.log.append(("had", self._name(path.parent), path.name, number, path.read_bytes(), mode))

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        noting = getattr(self, f"_note_{name}", None)
        return call if noting is None else lambda *args, **kwargs: self._noted(call, noting, args, kwargs)

    def _noted(self, call: Callable[..., Any], noting: Callable[..., None], args: Any, kwargs: Any) -> Any:
        with self._lock:
            # First written down: what a file was called is not to be seen any more afterwards.
            entries = len(self.log)
            if noting != self._note_open:
                noting(*args, **kwargs)
            try:
                result = call(*args, **kwargs)
            except BaseException:
                del self.log[entries:]
                raise
            if noting == self._note_open:
                noting(result, *args, **kwargs)
            return result

    def _note_open(self, fd: int, name: str, flags: int, mode: int = 0, *, dir_fd: int | None = None) -> None:
        inode = os.fstat(fd).st_ino
        if flags & os.O_CREAT and inode not in self._known and dir_fd is not None:
            self._known[inode] = next(self._numbers)
            self.log.append(("create", self._folder(dir_fd), name, self._known[inode], mode))

    def _note_write(self, fd: int, data: bytes) -> None:
        self._note_pwrite(fd, data, os.lseek(fd, 0, os.SEEK_CUR))

    def _note_pwrite(self, fd: int, data: bytes, offset: int) -> None:
        if (number := self._number(fd)) is not None:
            self.log.append(("write", number, offset, bytes(data)))

    def _note_ftruncate(self, fd: int, size: int) -> None:
        self.log.append(("cut", self._number(fd), size))

    def _note_fchmod(self, fd: int, mode: int) -> None:
        self.log.append(("mode", self._number(fd), mode))

    def _note_fsync(self, fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            self.log.append(("sync folder", self._folder(fd)))
        else:
            self.log.append(("sync", self._number(fd)))

    def _note_rename(self, name: str, new_name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self.log.append(("rename", self._folder(src_dir_fd), name, self._folder(dst_dir_fd), new_name))

    def _note_unlink(self, name: str, *, dir_fd: int) -> None:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        self._known.pop(status.st_ino, None)
        self.log.append(("unlink", self._folder(dir_fd), name))

    def _number(self, fd: int) -> int | None:
        return self._known.get(os.fstat(fd).st_ino)

    def _folder(self, fd: int) -> str:
        return self._name(Path(os.readlink(f"/proc/self/fd/{fd}")))

    def _name(self, folder: Path) -> str:
        return str(folder.relative_to(self._root))


def _is_table(path: Path, folder: Path) -> bool:
    return path.relative_to(folder).parts[0] in ("index", "records")
