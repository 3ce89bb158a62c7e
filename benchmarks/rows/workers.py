"""What a request costs when several workers answer: their number shall make it no dearer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.clients import wrk
from benchmarks.clients.pull import pull
from benchmarks.goal import Values, at_most
from benchmarks.measuring import cpu_seconds
from benchmarks.peers import Peer
from benchmarks.peers.mirror import Mirror, Mirror2, Mirror4
from benchmarks.rows.row import Row, Shot
from benchmarks.site import Site

CREWS: dict[int, type[Mirror]] = {1: Mirror, 2: Mirror2, 4: Mirror4}
CLIENTS = 64


def _cpu(workers: int) -> str:
    return f"CPU µs a request, {workers} worker{'s' if workers > 1 else ''}"


def _times(workers: int) -> str:
    return f"{workers} workers, x one's CPU"


@contextmanager
def _scaling(site: Site, peers: Sequence[str]) -> Iterator[Shot]:
    image = site.content.eight
    with ExitStack() as stack:
        upstream = stack.enter_context(site.upstream())
        crews = {count: stack.enter_context(site.peer(kind, upstream)) for count, kind in CREWS.items()}
        for crew in crews.values():
            pull(crew.url, image)
            # A first look of each worker at what is in the cache is no warm request.
            wrk.load(crew.url + image.by_tag, CLIENTS, 1, [])

        def shot(name: str) -> Values:
            spent = {count: _cost(crew, image.by_tag, site.scale.seconds) for count, crew in crews.items()}
            told = {_cpu(count): seconds * 1e6 for count, seconds in spent.items()}
            return told | {_times(count): spent[count] / spent[1] for count in (2, 4)}

        yield shot


def _cost(crew: Peer, path: str, seconds: float) -> float:
    """Return the processor time of a request, in seconds."""
    before = cpu_seconds(crew.pid)
    rate = wrk.load(crew.url + path, CLIENTS, seconds, [])
    return (cpu_seconds(crew.pid) - before) / rate.requests


ROWS = (
    Row(
        "scaling",
        f"a manifest by tag, {CLIENTS} connections, 1, 2 and 4 workers in turn on all cores",
        ("mirror",),
        _scaling,
        (at_most(_times(2), 1.1), at_most(_times(4), 1.1)),
    ),
)
