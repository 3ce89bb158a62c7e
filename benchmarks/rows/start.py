"""How long a start takes with a full cache, until the first answer."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.goal import Values, at_most
from benchmarks.peers import Peer
from benchmarks.peers.mirror import Mirror, cache
from benchmarks.rows.row import Row, Shot
from benchmarks.site import Site

TIME, WITHOUT_INDEX = "s", "s without its index"


@contextmanager
def _start(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
    """Have a mirror lay out its cache, fill it behind its back, and have it note what there is."""
    folder = site.new_folder()
    with site.upstream() as upstream:
        mirror = Mirror(upstream, folder)
        with mirror:
            pass
        _plant(cache(folder) / "blobs" / "sha256", site.scale.cached)
        with mirror:
            pass

        def shot(name: str) -> Values:
            again = _seconds(mirror)
            shutil.rmtree(cache(folder) / "index")
            return {TIME: again, WITHOUT_INDEX: _seconds(mirror)}

        yield shot


def _seconds(peer: Peer) -> float:
    began = time.monotonic()
    with peer:
        return time.monotonic() - began


def _plant(folder: Path, count: int) -> None:
    for number in range(count):
        data = b"blob %d" % number
        file = folder / hashlib.sha256(data).hexdigest()
        file.write_bytes(data)
        file.chmod(0o444)


ROWS = (
    Row(
        "start",
        "a start with 100,000 cached files, until the first answer",
        ("mirror",),
        _start,
        (at_most(TIME, 1.0), at_most(WITHOUT_INDEX, 1.0)),
    ),
)
