"""Every call on an open file. They block: call them in threads; all raise OSError."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress

_PIECE = 1024 * 1024
_ROTTEN = {errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA, errno.EILSEQ}

UNLOCKABLE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a file system without locks answers."""

TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}
"""What is answered where this process, or the machine, has as many files open as it may."""


def try_lock(fd: int) -> bool:
    """Take the file for this descriptor and its duplicates until `unlock`; False if another has it.

    The kernel frees it when the process dies. Where the file system has no locks everybody gets it (see `can_lock`).
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
    return True


def unlock(fd: int) -> None:
    """Give the file back, whoever else has a duplicate of the descriptor."""
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` where the descriptor stands."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def write_at(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Return `size` bytes from `offset` on, fewer at the end of the file."""
    return os.pread(fd, size, offset)


def pieces(fd: int, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of the file from `start` to `stop`, in pieces; they end early if the file does."""
    offset = start
    while offset < stop and (piece := os.pread(fd, min(_PIECE, stop - offset), offset)):
        yield piece
        offset += len(piece)


def shorten(fd: int, size: int) -> None:
    """Cut the file behind its first `size` bytes."""
    os.ftruncate(fd, size)


def duplicate(fd: int) -> int:
    """Return another descriptor of the open file; its lock is the same."""
    return os.dup(fd)


def close(fd: int) -> None:
    """Close the descriptor."""
    os.close(fd)


def close_opened(opened: tuple[int, int] | None) -> None:
    """Close what a folder opened, if there was anything to open."""
    if opened is not None:
        close(opened[0])


def can_open_more() -> bool:
    """Tell whether one more file can be open."""
    try:
        os.close(os.open("/", os.O_PATH))
    except OSError as error:
        return error.errno not in TOO_MANY_OPEN
    return True


def identity(fd: int) -> tuple[int, int, int]:
    """Return device, inode and size of the open file; the inode is its own for as long as anybody has it open."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_size


def is_rotten(error: BaseException | None) -> bool:
    """Tell whether the kernel says that bytes are lost; too many open files, for one, is no fault of a file."""
    return isinstance(error, OSError) and error.errno in _ROTTEN


def in_passing() -> int:
    """Return the descriptor of a new file in memory, on no disk."""
    return os.memfd_create("passage")


def set_modified(fd: int, at: float) -> None:
    """Say that the file was last written then (epoch seconds)."""
    os.utime(fd, (at, at))


def seal(fd: int) -> None:
    """Make the content durable and the file read-only."""
    os.fsync(fd)
    os.fchmod(fd, 0o444)


_PROBE = [bytearray(1)]
# What is looked at is read, and thrown away.


def in_memory(fd: int, start: int, stop: int) -> bool:
    """Tell whether reading the range would wait for the disk; False also where the file system cannot tell.

    Looks at both ends of the range, and once a MiB: the kernel reads ahead in one piece what lies between.
    """
    try:
        for at in range(start, stop - 1, _PIECE):
            os.preadv(fd, _PROBE, at, os.RWF_NOWAIT)
        return bool(os.preadv(fd, _PROBE, stop - 1, os.RWF_NOWAIT))
    except OSError:
        return False


def read_ahead(fd: int, start: int, stop: int) -> None:
    """Bring the range into memory."""
    os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_WILLNEED)
    for at in range(start, stop, _PIECE):
        os.pread(fd, min(_PIECE, stop - at), at)
