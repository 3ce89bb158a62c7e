"""The `os` that the store's file calls go through, with a step counted for every change it makes to the disk.

At the chosen step something goes wrong.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from mirror.store import drafts, files, table_folder
from mirror.store import folder as folder_calls
from mirror.store.at_once import open_at_once

FILE_CALLS = (drafts, files, folder_calls, table_folder)
"""The modules of the store that change the disk by themselves."""


class Fault(StrEnum):
    """What goes wrong."""

    KILL = "kill"
    """The process dies before the step."""
    TEAR = "tear"
    """It dies in the middle of the step, which is a write."""
    FULL = "full"
    """From this step on, the disk takes nothing more; what makes it fuller is a step."""
    BROKEN = "broken"
    """This step, and only this one, has an input/output error."""
    UNREADABLE = "unreadable"
    """The same, where what reads is a step."""


_WRITES = ("write", "pwrite")
_CHANGES = ("open", *_WRITES, "ftruncate", "fsync", "fchmod", "utime", "rename", "unlink", "mkdir")
_STEPS = {
    Fault.KILL: _CHANGES,
    Fault.TEAR: _WRITES,
    Fault.FULL: ("open", *_WRITES, "rename", "mkdir"),
    Fault.BROKEN: _CHANGES,
    Fault.UNREADABLE: ("open", "pread", "preadv", "scandir"),
}
# Which calls are steps; `open` where it creates a file, or for UNREADABLE where it does not.


class CountedOs:
    """Behaves as the module `os` until step `at`."""

    def __init__(self, fault: Fault, at: int) -> None:
        self._fault = fault
        self._at = at
        self._lock = threading.Lock()
        self.steps: list[str] = []
        self.opens = 0
        """How often a file was opened that might have had to be created."""

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in _STEPS[self._fault]:
            return call
        return lambda *args, **kwargs: self.step(name, call, *args, **kwargs)

    def step(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do what was asked for, unless this is where it goes wrong."""
        self.opens += name == "open" and bool(args[1] & os.O_CREAT)
        if name == "open" and _creates(*args, **kwargs) is (self._fault is Fault.UNREADABLE):
            return call(*args, **kwargs)
        if name in ("pwrite", "pread", "preadv") and os.readlink(f"/proc/self/fd/{args[0]}").startswith("/memfd:"):
            return call(*args, **kwargs)
        with self._lock:
            self.steps.append(name)
            number = len(self.steps)
            if number == self._at or (number > self._at > 0 and self._fault is Fault.FULL):
                self._fail(call, args)
            if self._fault in (Fault.KILL, Fault.TEAR):
                # One after the other: whatever is being done when the process dies was not begun by another thread.
                return call(*args, **kwargs)
        return call(*args, **kwargs)

    def _fail(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._fault is Fault.TEAR:
            call(args[0], args[1][: len(args[1]) // 2], *args[2:])
        if self._fault in (Fault.KILL, Fault.TEAR):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault is Fault.FULL:
            raise OSError(errno.ENOSPC, "No space left on device")
        raise OSError(errno.EIO, "Input/output error")

    def install(self) -> CountedOs:
        """Take the place of `os` in this process, for good."""
        for module in FILE_CALLS:
            vars(module)["os"] = self
        # Not a call of `os`: the kernel's own.
        vars(folder_calls)["open_at_once"] = lambda *args, **kwargs: self.step("open", open_at_once, *args, **kwargs)
        if "mkdir" in _STEPS[self._fault]:
            make = Path.mkdir
            # Not as an attribute of this module: folders are made through `pathlib`.
            setattr(Path, "mkdir", lambda *args, **kwargs: self.step("mkdir", make, *args, **kwargs))  # noqa: B010
        return self


def _creates(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> bool:
    if not flags & os.O_CREAT:
        return False
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False
