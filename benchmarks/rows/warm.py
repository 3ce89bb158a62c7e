"""What is cached already, asked for over and over by clients that keep their connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks import cores
from benchmarks.clients import wrk
from benchmarks.clients.pull import pull
from benchmarks.clients.reader import flow
from benchmarks.content import Image
from benchmarks.goal import Values, at_least, at_most
from benchmarks.measuring import cpu_seconds, forget_peak, peak_memory, processes
from benchmarks.peers import ON_ALL_CORES, WARM, Peer
from benchmarks.rows.row import Row, Shot, Stage
from benchmarks.scale import GIB, MIB
from benchmarks.site import Site

ALL = tuple(WARM)
CLIENTS = 64
RATE, CPU_A_REQUEST, P99 = "requests/s", "CPU µs a request", "p99 ms"
SPEED, CPU_A_GIB, MEMORY = "GB/s", "CPU s a GiB", "RSS MiB a process"
BLOBS, CPU_A_BLOB = "blobs/s", "CPU µs a blob"


@contextmanager
def _warmed(
    site: Site,
    peers: Sequence[str],
    image: Image,
    prefix: Sequence[str] = (),
    kinds: Mapping[str, type[Peer]] = WARM,
) -> Iterator[Mapping[str, Peer]]:
    """Run these peers, each of which has this image."""
    with ExitStack() as stack:
        upstream = stack.enter_context(site.upstream())
        running = {name: stack.enter_context(site.peer(kinds[name], upstream, prefix)) for name in peers}
        for peer in running.values():
            # Whoever stores behind the back of its first client has stored for the second one.
            pull(peer.url, image)
            pull(peer.url, image)
        yield running


def _manifests(path: Callable[[Image], str]) -> Stage:
    @contextmanager
    def stage(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
        image = site.content.eight
        with _warmed(site, peers, image, cores.server_core()) as running:

            def shot(name: str) -> Values:
                peer = running[name]
                before = cpu_seconds(peer.pid)
                rate = wrk.load(peer.url + path(image), CLIENTS, site.scale.seconds, cores.other_cores())
                spent = cpu_seconds(peer.pid) - before
                return {
                    RATE: rate.requests / rate.seconds,
                    CPU_A_REQUEST: spent / rate.requests * 1e6,
                    P99: rate.p99 * 1e3,
                }

            yield shot

    return stage


def _blob(clients: int) -> Stage:
    @contextmanager
    def stage(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
        image = site.content.huge
        with _warmed(site, peers, image, kinds=ON_ALL_CORES) as running:

            def shot(name: str) -> Values:
                group = running[name].pid
                forget_peak(group)
                before = cpu_seconds(group)
                came = flow(running[name].url, [image.layers[0].path], clients, site.scale.seconds)
                spent = cpu_seconds(group) - before
                return {
                    SPEED: came.size / came.seconds / 1e9,
                    CPU_A_GIB: spent / came.size * GIB,
                    MEMORY: peak_memory(group) / processes(group) / MIB,
                }

            yield shot

    return stage


@contextmanager
def _small(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
    image = site.content.small
    paths = [layer.path for layer in image.layers]
    with _warmed(site, peers, image, kinds=ON_ALL_CORES) as running:

        def shot(name: str) -> Values:
            peer = running[name]
            before = cpu_seconds(peer.pid)
            came = flow(peer.url, paths, CLIENTS, site.scale.seconds)
            spent = cpu_seconds(peer.pid) - before
            return {
                BLOBS: came.answers / came.seconds,
                CPU_A_BLOB: spent / came.size * MIB * 1e6,
                P99: came.p99 * 1e3,
            }

        yield shot


_AHEAD_OF_DRAYAGE = (
    at_least(RATE, 1.0, "drayage"),
    at_most(CPU_A_REQUEST, 1.0, "drayage"),
    at_most(P99, 1.0, "drayage"),
)
_CLOSE_TO_NGINX = (at_least(SPEED, 0.9, "nginx"), at_most(CPU_A_GIB, 2.0, "nginx"))

ROWS = (
    Row(
        "warm-manifest-tag",
        f"a manifest by tag, {CLIENTS} connections, the server on one core",
        ("mirror", "drayage", "docker-registry"),
        _manifests(lambda image: image.by_tag),
        _AHEAD_OF_DRAYAGE,
    ),
    Row(
        "warm-manifest-digest",
        f"a manifest by digest, {CLIENTS} connections, the server on one core",
        ALL,
        _manifests(lambda image: image.by_digest),
        _AHEAD_OF_DRAYAGE,
    ),
    Row("warm-blob-1", "a blob of 1 GiB, one client", ALL, _blob(1), _CLOSE_TO_NGINX),
    Row("warm-blob-16", "the same, 16 clients", ALL, _blob(16), _CLOSE_TO_NGINX),
    Row("warm-blob-64", f"the same, {CLIENTS} clients", ALL, _blob(CLIENTS), (at_most(MEMORY, 150),)),
    Row(
        "warm-small-blobs",
        f"blobs of 1 MiB, {CLIENTS} clients",
        ALL,
        _small,
        (at_least(BLOBS, 3.0, "docker-registry"), at_least(BLOBS, 0.7, "nginx")),
    ),
)
