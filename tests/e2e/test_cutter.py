"""The cutter and the brake without the mirror: when one of these fails, the tests of cut clients say nothing."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from select import select
from urllib.parse import urlsplit

import pytest

from .cutter import Brake, Cut, Cutter
from .images import Content, Image
from .registry import RealRegistry
from .relay import Relay


@pytest.fixture
def layer(open_registry: RealRegistry, small: Image) -> Content:
    """A layer of 3 MB that the registry has."""
    open_registry.fill("library/small", "latest", small)
    return small.layers[-1]


def path_of(blob: Content) -> str:
    return f"/v2/library/small/blobs/{blob.digest}"


@contextmanager
def asked(relay: Relay, blob: Content) -> Iterator[HTTPResponse]:
    """An answer of which only the head has been read."""
    with closing(HTTPConnection(urlsplit(relay.url).netloc, timeout=30)) as connection:
        connection.request("GET", path_of(blob))
        with connection.getresponse() as response:
            yield response


def read(response: HTTPResponse) -> tuple[bytes, Cut]:
    """All that comes, and how it ended."""
    received = bytearray()
    try:
        while piece := response.read1(2**16):
            received += piece
    except ConnectionResetError:
        return bytes(received), Cut.RESET
    return bytes(received), Cut.END


@pytest.mark.parametrize("cut", list(Cut), ids=["reset", "end"])
def test_a_layer_is_cut_at_half_and_only_once(open_registry: RealRegistry, layer: Content, cut: Cut) -> None:
    cuts: set[str] = set()
    with Cutter(open_registry.url, cut, cuts) as cutter:
        with asked(cutter, layer) as response:
            assert read(response) == (layer.data[: len(layer.data) // 2], cut)
        assert cuts == {layer.digest}
        with asked(cutter, layer) as response:
            assert read(response) == (layer.data, Cut.END)
    assert open_registry.sent(path_of(layer)) > len(layer.data)  # what was cut counts as well


def test_a_small_layer_is_not_cut(open_registry: RealRegistry, layer: Content, small: Image) -> None:
    cuts: set[str] = set()
    with Cutter(open_registry.url, Cut.RESET, cuts) as cutter, asked(cutter, small.layers[1]) as response:
        assert read(response) == (small.layers[1].data, Cut.END)
    assert not cuts
    assert open_registry.sent(path_of(small.layers[1])) == len(small.layers[1].data)


def test_the_brake_waits_for_the_cut(open_registry: RealRegistry, layer: Content) -> None:
    cuts: set[str] = set()
    with Brake(open_registry.url, cuts) as brake, asked(brake, layer) as response:
        before = response.read(len(layer.data) * 3 // 4)
        assert select([response], [], [], 0.5) == ([], [], [])
        cuts.add(layer.digest)
        assert before + response.read() == layer.data
