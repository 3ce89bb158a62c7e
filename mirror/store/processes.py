"""Which mirrors use the cache folder: each has a file in `run/` that it keeps locked for as long as it lives."""

from __future__ import annotations

import secrets

from mirror.store import files
from mirror.store.folders import Folders

_PREFIX = "process-"


class Processes:
    """The mirrors that share the cache folder; all methods block."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._name = f"{_PREFIX}{secrets.token_hex(8)}"
        self._fd = -1

    def enter(self) -> None:
        """Be one of them; raises OSError."""
        fd = self._folders.run.claim(self._name)
        assert fd is not None  # noqa: S101  # nobody else knows the name
        self._fd = fd

    def alone(self) -> bool:
        """Tell whether no other process uses the folder; what dead ones left is removed."""
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
