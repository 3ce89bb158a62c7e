"""What is not cached, asked for by one client: each time of a server that has just started and has nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

from benchmarks.clients import skopeo
from benchmarks.clients.pull import pull, token_of
from benchmarks.clients.reader import fetch
from benchmarks.content import Content, Image
from benchmarks.goal import Goal, Values, at_least, at_most
from benchmarks.measuring import cpu_seconds, quiet_since
from benchmarks.peers import DIRECT, NAMES
from benchmarks.rows.row import Row, Shot, Stage
from benchmarks.scale import GIB
from benchmarks.site import Site
from benchmarks.upstream.pace import Pace

SPEED, AT_REST, CPU_A_GIB, TIME = "GB/s", "GB/s until at rest", "CPU s a GiB", "s"
SLOW = Pace(rate=20e6, latency=0.03)
REGISTRIES = ("mirror", "drayage", "docker-registry", DIRECT)
PEERS = ("drayage", "docker-registry", "nginx")


@contextmanager
def _fill(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
    blob = site.content.huge.layers[0]
    with site.upstream() as upstream:

        def shot(name: str) -> Values:
            with site.cold(name, upstream) as server:
                token = _token(server.url)
                before, began = cpu_seconds(server.pid), time.monotonic()
                (came,) = fetch(server.url, [blob.path], token)
                at_rest = quiet_since(server.pid)
                return {
                    SPEED: blob.size / came.whole / 1e9,
                    AT_REST: blob.size / max(at_rest - began, came.whole) / 1e9,
                    CPU_A_GIB: (cpu_seconds(server.pid) - before) / blob.size * GIB,
                }

        yield shot


def _token(url: str) -> str | None:
    connection = HTTPConnection(urlsplit(url).netloc)
    try:
        return token_of(connection)
    finally:
        connection.close()


Choice = Callable[[Content], Image]
Client = Callable[[Site, str, Image], float]


def _reads(_: Site, url: str, image: Image) -> float:
    return pull(url, image)


def _copies(site: Site, url: str, image: Image) -> float:
    return skopeo.copy(url, image, site.new_folder())


def _pulls(choice: Choice, client: Client = _reads, pace: Pace | None = None) -> Stage:
    """Time the pull of an image, or of what `choice` returns, by this client."""

    @contextmanager
    def stage(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
        with site.upstream(pace) as upstream:

            def shot(name: str) -> Values:
                with site.cold(name, upstream) as server:
                    return {TIME: client(site, server.url, choice(site.content))}

            yield shot

    return stage


def _large(content: Content) -> Image:
    return content.large


def _eight(content: Content) -> Image:
    return content.eight


def _row(name: str, about: str, peers: tuple[str, ...], stage: Stage, *goals: Goal) -> Row:
    return Row(name, about, peers, stage, goals)


_AHEAD_OF_ALL = at_most(TIME, 1.0, *PEERS)
_HARDLY_LATER = at_most(TIME, 1.1, DIRECT)

ROWS = (
    _row(
        "cold-fill",
        "a blob of 1 GiB through an empty cache, upstream fast, one client",
        NAMES,
        _fill,
        at_least(SPEED, 0.9, "nginx"),
        at_least(SPEED, 2.0, "docker-registry"),
    ),
    _row("cold-pull-200", "an image of 200 MiB, upstream fast", NAMES, _pulls(_large), _AHEAD_OF_ALL),
    _row("cold-pull-8x8", "an image of 8 x 8 MiB, upstream fast", NAMES, _pulls(_eight), _AHEAD_OF_ALL),
    _row("skopeo-200", "200 MiB by skopeo, upstream fast", REGISTRIES, _pulls(_large, _copies), _HARDLY_LATER),
    _row("skopeo-8x8", "8 x 8 MiB by skopeo, upstream fast", REGISTRIES, _pulls(_eight, _copies), _HARDLY_LATER),
    _row(
        "slow-pull-8x8",
        "8 x 8 MiB, upstream at 20 MB/s a connection and 30 ms",
        REGISTRIES,
        _pulls(_eight, pace=SLOW),
        at_most(TIME, 0.75, DIRECT),
    ),
    _row(
        "slow-pull-200",
        "200 MiB, upstream at 20 MB/s a connection and 30 ms",
        REGISTRIES,
        _pulls(_large, pace=SLOW),
        at_most(TIME, 0.5, DIRECT),
    ),
)
