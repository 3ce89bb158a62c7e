"""The mirror as it is shipped: its default limits, its log, one process unless it is said otherwise."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmarks import places
from benchmarks.peers.peer import Peer
from benchmarks.upstream.process import Upstream


class Mirror(Peer):
    """`mirror serve`, which takes the upstream for Docker Hub."""

    program = sys.executable
    # Compiled once, as an installed one is, also where Python is told to leave no bytecode beside its sources.
    environment: ClassVar[Mapping[str, str]] = {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(places.HOME / "bytecode"),
    }
    workers: ClassVar[int | str] = 1

    def configure(self, upstream: Upstream, folder: Path) -> list[str]:
        """Write its configuration."""
        config: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": "127.0.0.1:0"},
            "workers": self.workers,
            "drain_timeout": "1s",
            "cache": {"path": str(cache(folder))},
            "upstreams": {"docker.io": {"endpoints": [upstream.url], "private_network": True}},
        }
        file = folder / "config.yaml"
        file.write_text(json.dumps(config))
        return ["-m", "mirror", "serve", "--config", str(file)]


class Mirror2(Mirror):
    """The same, with two workers."""

    workers = 2


class Mirror4(Mirror):
    """The same, with four workers."""

    workers = 4


class MirrorOnAllCores(Mirror):
    """The same, with a worker for each core, as nginx has."""

    workers = "auto"


def cache(folder: Path) -> Path:
    """Return the cache of the mirror that has its files in `folder`."""
    return folder / "cache"
