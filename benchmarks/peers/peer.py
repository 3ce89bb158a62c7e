"""What all servers under measurement have in common."""

from __future__ import annotations

import functools
import shutil
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.program import Program
from benchmarks.upstream.process import Upstream
from tests.e2e.process import answers, free_port


class Peer(Program):
    """A cache in front of `upstream`, on a port of its own, with all its files in `folder`, which it makes.

    `prefix` starts its command; the process group of `pid` is all that it runs.
    """

    program: ClassVar[str]
    """What has to be installed, a name or a path."""

    environment: ClassVar[Mapping[str, str]] = {}
    """Variables that it is started with, beside those of the measurement."""

    def __init__(self, upstream: Upstream, folder: Path, prefix: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = self.configure(upstream, folder)
        is_ready = functools.partial(answers, f"{self.url}/v2/")
        super().__init__([*prefix, self.program, *command], folder / "log", is_ready, self.environment)

    @abstractmethod
    def configure(self, upstream: Upstream, folder: Path) -> list[str]:
        """Write what it reads at its start; return the arguments that start it in the foreground."""

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether it can be started here."""
        return shutil.which(cls.program) is not None
