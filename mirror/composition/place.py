"""Where a process stands among those that serve together."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from mirror.config import Config, UpstreamConfig


@dataclass(frozen=True, slots=True)
class Place:
    """One of `count` workers of a mirror, or all there is of it."""

    sockets: Sequence[socket.socket] = ()
    """What it listens on, bound by its supervisor; none if it is alone and binds itself."""

    count: int = 1
    leads: bool = True
    """Whether it does what is done once for all: warms in rounds, and scrubs."""

    @property
    def is_alone(self) -> bool:
        """Tell whether nobody supervises it."""
        return not self.sockets

    def share(self, config: Config) -> Config:
        """Return the configuration with this process's part of what limits the mirror as a whole."""
        if self.count == 1:
            return config
        upstreams = {name: self._part(upstream) for name, upstream in config.upstreams.items()}
        return config.model_copy(update={"upstreams": upstreams})

    def _part(self, upstream: UpstreamConfig) -> UpstreamConfig:
        fills, bandwidth = upstream.limits.fills, upstream.limits.bandwidth
        part = {
            "fills": max(1, fills // self.count),
            "bandwidth": None if bandwidth is None else max(1, bandwidth // self.count),
        }
        return upstream.model_copy(update={"limits": upstream.limits.model_copy(update=part)})


ALONE = Place()
