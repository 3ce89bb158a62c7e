"""The configuration as it was read once: each worker gets the same, whatever becomes of the file."""

from __future__ import annotations

import os
from pathlib import Path

from mirror.config import Config, load
from mirror.config.loading import DEFAULT_FILE
from mirror.errors import ConfigError


class Source:
    """A configuration, and the bytes it is made of in a file without a name, which a worker inherits."""

    def __init__(self, file: Path | None) -> None:
        """Read it; raises ConfigError."""
        self.config: Config = load(file)
        named = file or DEFAULT_FILE
        try:
            content = named.read_bytes() if file is not None or named.exists() else b""
        except OSError as error:
            raise ConfigError("", f"{named} cannot be read: {error.strerror}") from None
        self.descriptor = os.memfd_create("configuration")
        os.pwrite(self.descriptor, content, 0)

    @property
    def path(self) -> str:
        """Where a process that has inherited the descriptor reads it."""
        return f"/proc/self/fd/{self.descriptor}"

    def close(self) -> None:
        """Let go of it; workers that have it keep it."""
        os.close(self.descriptor)
