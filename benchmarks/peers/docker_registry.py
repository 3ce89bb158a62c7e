"""Debian's docker-registry, the Go registry everybody knows, as a pull-through cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer
from benchmarks.upstream.process import Upstream


class DockerRegistry(Peer):
    """`docker-registry serve` with its cache of descriptors in memory."""

    program = "docker-registry"

    def configure(self, upstream: Upstream, folder: Path) -> list[str]:
        """Write its configuration."""
        config: dict[str, Any] = {
            "version": "0.1",
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "data")},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": {"addr": f"127.0.0.1:{self.port}"},
            "proxy": {"remoteurl": upstream.url},
        }
        file = folder / "config.yml"
        file.write_text(json.dumps(config))
        return ["serve", str(file)]
