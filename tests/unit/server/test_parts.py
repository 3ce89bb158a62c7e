"""Parts of a blob over a real socket, for any ranges and any way in which the blob grows meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest
import uvloop
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import DigestMismatch
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.proxy.fills.fill import Fill, FillReader
from mirror.proxy.fills.progress import HOLD_BACK, Progress
from mirror.proxy.interfaces.fills import FillState
from mirror.proxy.pull_blob import PullBlob, PulledBlob
from mirror.proxy.routing import Route
from mirror.server.blobs import BlobHandler
from mirror.server.exchange import Exchange
from mirror.server.middleware import public_handler
from mirror.server.ranges import Span
from tests.integration.byteranges import Part, parts_of
from tests.unit.proxy.doubles import HUB, MemoryFile
from tests.unit.recorder import Recorder

SIZE = 300_000
DATA = random.Random("parts").randbytes(SIZE)
DIGEST = Digest.parse(f"sha256:{'0' * 64}")


@st.composite
def some_spans(draw: st.DrawFn) -> list[Span]:
    """Up to six spans that go forward and do not overlap, near the places where something changes as elsewhere."""
    places = st.integers(0, SIZE) | st.sampled_from([0, 1, SIZE - HOLD_BACK, SIZE - 1, SIZE])
    ends = sorted(draw(st.sets(places, min_size=2, max_size=12)))
    return [Span(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=False)]


steps = st.lists(st.integers(1, 100_000), max_size=20)


@dataclass
class Growing:
    """A blob that grows in `steps` once it is asked for, and is then verified, or found to be wrong."""

    steps: Sequence[int]
    is_right: bool
    opened: Counter[str]

    async def pull(self, route: Route, digest: Digest) -> PulledBlob:
        fill = Fill(route, digest)
        fd = os.memfd_create("growing")
        progress = fill.begin(None, SIZE)
        self._grower = asyncio.create_task(self._grow(fill, progress, os.dup(fd)))
        fill.audience.acquire()
        return PulledBlob(FillReader(fill, progress, MemoryFile(fd, self.opened)), CacheStatus(Outcome.MISS))

    async def _grow(self, fill: Fill, progress: Progress, fd: int) -> None:
        for wanted in (*self.steps, SIZE):
            step = min(wanted, SIZE - progress.prefix)
            os.pwrite(fd, DATA[progress.prefix : progress.prefix + step], progress.prefix)
            progress.advance(step)
            await asyncio.sleep(0)
        os.close(fd)
        if self.is_right:
            progress.enter(FillState.VERIFIED)
        else:
            fill.fail(DigestMismatch("upstream sent bytes that do not have the blob's digest"))


@dataclass(frozen=True)
class Received:
    """What came of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(blob: Growing, spans: Sequence[Span]) -> Received:
    """Ask for these spans, on a connection that ends behind the answer."""
    handler = BlobHandler(cast(PullBlob, blob), lambda route: True)

    async def serve(exchange: Exchange) -> web.StreamResponse:
        return await handler.serve(exchange, HUB, DIGEST)

    runner = web.ServerRunner(web.Server(public_handler(serve, Recorder())))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    ranges = ",".join(f"{span.start}-{span.stop - 1}" for span in spans)
    writer.write(f"GET / HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\nRange: bytes={ranges}\r\n\r\n".encode())
    status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    body = bytearray()
    try:
        while data := await reader.read(65536):
            body += data
    except ConnectionResetError:
        pass
    writer.close()
    await runner.cleanup()
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Received(int(status.split()[1]), headers, bytes(body))


def run(blob: Growing, spans: Sequence[Span]) -> Received:
    received = uvloop.run(ask(blob, spans))
    assert received.status == 206
    assert blob.opened["files"] == 0
    return received


@settings(max_examples=40)
@given(some_spans(), steps)
def test_the_parts_are_the_slices_of_the_blob_however_it_grows(spans: list[Span], steps: list[int]) -> None:
    received = run(Growing(steps, True, Counter()), spans)
    if len(spans) == 1:
        assert received.headers["content-range"] == spans[0].content_range(SIZE)
        assert received.body == DATA[spans[0].start : spans[0].stop]
    else:
        parts = [Part(span.start, DATA[span.start : span.stop], SIZE) for span in spans]
        assert parts_of(received.headers, received.body) == parts


@settings(max_examples=40)
@given(some_spans(), steps)
def test_an_answer_of_wrong_bytes_never_has_its_end(spans: list[Span], steps: list[int]) -> None:
    received = run(Growing(steps, False, Counter()), spans)
    declared = int(received.headers["content-length"])
    assert declared - len(received.body) >= min(HOLD_BACK, declared)


@pytest.mark.parametrize("at", [1, 1000, SIZE // 2, SIZE - 1])
def test_a_part_ahead_of_what_is_there_waits_for_it(at: int) -> None:
    spans = [Span(0, 1), Span(at, SIZE)]
    received = run(Growing([at], True, Counter()), spans)
    assert [part.data for part in parts_of(received.headers, received.body)] == [DATA[:1], DATA[at:]]
