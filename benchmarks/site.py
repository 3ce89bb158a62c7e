"""Where a row is measured: the content, a folder that is gone at the end, and what is started there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.content import Content
from benchmarks.peers import COLD, DIRECT, Peer
from benchmarks.scale import Scale
from benchmarks.upstream.pace import Pace
from benchmarks.upstream.process import Upstream


@dataclass(frozen=True, slots=True)
class Site:
    """`folder` is empty, and on the disk that the caches are to be on."""

    content: Content
    scale: Scale
    folder: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def new_folder(self) -> Path:
        """Return the path of a folder that is not there yet."""
        return self.folder / str(next(self._numbers))

    def upstream(self, pace: Pace | None = None) -> Upstream:
        """Return an upstream that holds all the content, not started."""
        return Upstream(self.content.folder, self.folder, pace or Pace())

    def peer(self, kind: type[Peer], upstream: Upstream, prefix: Sequence[str] = ()) -> Peer:
        """Return a peer that has nothing cached, not started."""
        return kind(upstream, self.new_folder(), prefix)

    @contextmanager
    def cold(self, name: str, upstream: Upstream) -> Iterator[Peer | Upstream]:
        """Run and return a peer that has nothing cached, or the upstream; what was stored is removed at the end."""
        if name == DIRECT:
            yield upstream
            return
        folder = self.new_folder()
        try:
            with COLD[name](upstream, folder) as peer:
                yield peer
        finally:
            shutil.rmtree(folder, ignore_errors=True)
