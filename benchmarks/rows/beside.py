"""What is warm, alone, beside clients that take nothing, and beside an upstream that gives little.

Each has a mirror of its own, so that nothing is left over from the one before. A slow disk cannot be had everywhere:
what that one stops is tested without a clock, in tests/integration/test_independence.py.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from benchmarks import cores
from benchmarks.clients import wrk
from benchmarks.clients.connection import Connection
from benchmarks.clients.pull import pull
from benchmarks.clients.reader import fetch
from benchmarks.goal import Values, at_most
from benchmarks.measuring import quiet_since
from benchmarks.peers import WARM
from benchmarks.rows.row import Row, Shot
from benchmarks.scale import MIB
from benchmarks.site import Site
from benchmarks.upstream.pace import Pace

SLOW = 64
"""Clients that ask and read nothing."""

_ASKING = 8
_TRICKLE = Pace(rate=2 * MIB)

ALONE, CLIENTS, UPSTREAM = "p99 ms alone", "beside slow clients, x alone", "beside a slow upstream, x alone"


@contextmanager
def _beside(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
    tag, layer = site.content.eight.by_tag, site.content.large.layers[0].path
    with ExitStack() as stack:
        fast, slow = stack.enter_context(site.upstream()), stack.enter_context(site.upstream(_TRICKLE))
        running = {
            (name, what): stack.enter_context(site.peer(WARM[name], slow if what == UPSTREAM else fast))
            for name in peers
            for what in (ALONE, CLIENTS, UPSTREAM)
        }
        for (_, what), peer in running.items():
            fetch(peer.url, [tag])
            if what == CLIENTS:
                pull(peer.url, site.content.large)

        def p99(name: str, what: str, waiting: int) -> float:
            url = running[name, what].url
            with _waiting(url, layer, waiting):
                if what == CLIENTS:
                    # Their sockets are full by then.
                    quiet_since(running[name, what].pid)
                return wrk.load(url + tag, _ASKING, site.scale.seconds, cores.other_cores()).p99 * 1e3

        def shot(name: str) -> Values:
            alone = p99(name, ALONE, 0)
            return {
                ALONE: alone,
                CLIENTS: p99(name, CLIENTS, SLOW) / alone,
                UPSTREAM: p99(name, UPSTREAM, 1) / alone,
            }

        yield shot


@contextmanager
def _waiting(url: str, path: str, count: int) -> Iterator[None]:
    """Have this many clients ask for `path`, and take nothing of the answer."""
    where = urlsplit(url)
    with ExitStack() as stack:
        for _ in range(count):
            opened = stack.enter_context(socket.create_connection((where.hostname, where.port)))
            Connection(opened, where.netloc).ask(path)
        yield


ROWS = (
    Row(
        "beside-slow",
        f"a manifest by tag, {_ASKING} connections, beside {SLOW} clients that read nothing and a fill at 2 MiB/s",
        ("mirror",),
        _beside,
        (at_most(CLIENTS, 1.25), at_most(UPSTREAM, 1.25)),
    ),
)
