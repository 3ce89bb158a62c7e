"""Which mirrors use the cache folder: each has a file in `run/` that it keeps locked for as long as it lives."""

from __future__ import annotations

import secrets
import time

from mirror.store import files
from mirror.store.folders import Folders

_PREFIX = "process-"
_ENTERED = "entered"
# A byte for each process that ever came: one that came and went is seen by its byte.


class Processes:
    """The mirrors that share the cache folder; all methods block."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._name = f"{_PREFIX}{secrets.token_hex(8)}"
        self._fd = -1
        self._entered = 0
        self._had_company = True

    def enter(self) -> None:
        """Be one of them; raises OSError."""
        # Whoever looks who is there may hold the lock for a moment, and take the file for a dead one's.
        while (fd := self._folders.run.claim(self._name)) is None:
            time.sleep(0.001)
        self._fd = fd
        self._folders.run.append(_ENTERED, b".")

    def had_company(self) -> bool:
        """Tell whether another process may have used the folder since this was asked last."""
        entered, is_alone = self._folders.run.size(_ENTERED), self._is_alone()
        had = self._had_company or not is_alone or entered != self._entered
        self._entered, self._had_company = entered, not is_alone
        return had

    def _is_alone(self) -> bool:
        others = [entry.name for entry in self._folders.run.entries() if entry.name.startswith(_PREFIX)]
        return not any(self._lives(name) for name in others if name != self._name)

    def _lives(self, name: str) -> bool:
        fd = self._folders.run.claim(name)
        if fd is None:
            return True
        self._folders.run.remove(name)
        files.close(fd)
        return False

    def leave(self) -> None:
        """Be one no more."""
        if self._fd >= 0:
            self._folders.run.remove(self._name)
            files.close(self._fd)
            self._fd = -1
