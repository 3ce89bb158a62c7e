"""The servers that are measured: the mirror, what others use in its place, and what is as fast as it gets."""

from __future__ import annotations

from benchmarks.peers.docker_registry import DockerRegistry
from benchmarks.peers.drayage import Drayage
from benchmarks.peers.mirror import Mirror
from benchmarks.peers.nginx import NginxCache, NginxFiles
from benchmarks.peers.peer import Peer

DIRECT = "direct"
"""Stands among names of peers for no peer at all: the upstream is asked."""

WARM: dict[str, type[Peer]] = {
    "mirror": Mirror,
    "drayage": Drayage,
    "docker-registry": DockerRegistry,
    "nginx": NginxFiles,
}
COLD: dict[str, type[Peer]] = WARM | {"nginx": NginxCache}

NAMES = (*WARM, DIRECT)
"""Every name there is, in the order of the tables."""

__all__ = ["COLD", "DIRECT", "NAMES", "WARM", "Peer"]
