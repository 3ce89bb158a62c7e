"""drayage, a pull-through cache in Rust."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.peer import Peer
from benchmarks.places import PEERS
from benchmarks.upstream.process import Upstream


class Drayage(Peer):
    """`drayage serve`, which takes the upstream for Docker Hub."""

    program = str(PEERS / "bin" / "drayage")

    def configure(self, upstream: Upstream, folder: Path) -> list[str]:
        """Write its configuration."""
        cache = folder / "cache"
        cache.mkdir()
        file = folder / "config.toml"
        file.write_text(
            f'listen = "127.0.0.1:{self.port}"\n'
            f'cache_dir = "{cache}"\n'
            "read_timeout_secs = 120\n"
            "[upstreams.docker_io]\n"
            f'registry = "{upstream.url}"\n'
        )
        return ["serve", "--config", str(file)]
