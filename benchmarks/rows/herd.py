"""Many clients at once, of a server that has nothing of what they want."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.clients.reader import fetch
from benchmarks.goal import Values, at_most
from benchmarks.rows.row import Row, Shot
from benchmarks.site import Site
from benchmarks.upstream.pace import Pace

CLIENTS = 50
TIME, TIMES_ONE, FIRST_BYTE, FETCHED = "s", "x one client's", "first byte s", "x from upstream"


@contextmanager
def _herd(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
    blob = site.content.large.layers[0]
    with site.upstream(Pace(rate=20e6)) as upstream:

        def alone(name: str) -> float:
            with site.cold(name, upstream) as server:
                return fetch(server.url, [blob.path])[0].whole

        def shot(name: str) -> Values:
            one = alone(name)
            before = upstream.sent()
            with site.cold(name, upstream) as server:
                came = fetch(server.url, [blob.path] * CLIENTS)
            wall = max(transfer.whole for transfer in came)
            return {
                TIME: wall,
                TIMES_ONE: wall / one,
                FIRST_BYTE: max(transfer.first_byte for transfer in came),
                FETCHED: (upstream.sent() - before) / blob.size,
            }

        yield shot


ROWS = (
    Row(
        "herd",
        f"{CLIENTS} clients of one blob of 200 MiB, upstream at 20 MB/s a connection",
        ("mirror", "drayage", "docker-registry", "nginx"),
        _herd,
        (at_most(TIMES_ONE, 1.1), at_most(FIRST_BYTE, 0.5), at_most(FETCHED, 1.0)),
    ),
)
