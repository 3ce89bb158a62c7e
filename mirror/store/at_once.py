"""Opening a file without waiting for the disk: on the loop, where a thread would cost more than the opening.

The kernel opens it if it has all that leads to the file in memory (openat2 with RESOLVE_CACHED, Linux 5.12), and else
says so. That goes for file systems of this machine; those of others may ask over the network all the same.
"""

from __future__ import annotations

import ctypes
import errno
import os

_OPENAT2 = 437
# On every architecture that Python runs on.
_RESOLVE_CACHED = 0x20
_NOT_HERE = {errno.ENOSYS, errno.EINVAL, errno.EPERM}
# What older kernels say, and filters of system calls.


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def open_at_once(name: str, flags: int, *, dir_fd: int) -> int:
    """Return the descriptor of an existing file, as `os.open` does.

    Raises BlockingIOError where that would wait, NotImplementedError where this kernel cannot do it, otherwise OSError
    as `os.open` does.
    """
    how = _How(flags, 0, _RESOLVE_CACHED)
    fd: int = _libc.syscall(_OPENAT2, dir_fd, name.encode(), ctypes.byref(how), ctypes.sizeof(how))
    if fd >= 0:
        return fd
    error = ctypes.get_errno()
    if error in _NOT_HERE:
        raise NotImplementedError
    raise OSError(error, os.strerror(error), name)


def can_tell(fd: int) -> bool:
    """Tell whether the file system of an open file lets itself be asked without a wait: those of others do not."""
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def can_tell_in(folder: int) -> bool | None:
    """Tell the same of an open folder that may be empty, by a file without a name; None if it takes none. Blocks."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError:
        return None
    try:
        return can_tell(fd)
    finally:
        os.close(fd)
