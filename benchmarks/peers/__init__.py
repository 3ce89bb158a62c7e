"""The servers that are measured: the mirror, what others use in its place, and what is as fast as it gets."""

from __future__ import annotations

from benchmarks.peers.docker_registry import DockerRegistry
from benchmarks.peers.drayage import Drayage
from benchmarks.peers.mirror import Mirror, MirrorOnAllCores
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
ON_ALL_CORES: dict[str, type[Peer]] = WARM | {"mirror": MirrorOnAllCores}
"""The same, where nginx and docker-registry use all cores and the mirror shall as well."""

COLD: dict[str, type[Peer]] = WARM | {"nginx": NginxCache}

NAMES = (*WARM, DIRECT)
"""Every name there is, in the order of the tables."""

__all__ = ["COLD", "DIRECT", "NAMES", "ON_ALL_CORES", "WARM", "Peer"]
