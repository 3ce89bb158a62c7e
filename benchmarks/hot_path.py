"""`python -m benchmarks.hot_path KIND N`: clients ask a mirror N times for what it has, while somebody counts.

One asks, or as many at once as a kind says: then all of them are answered in one turn of the loop.

The whole path is there, in one process and without a clock: sockets, HTTP, the decision, the log line.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks.clients.connection import UnexpectedAnswer
from mirror.app import Mirror
from mirror.config import Config
from mirror.telemetry.logs import Logs, set_up
from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.command import configuration

KINDS = ("tag", "digest", "blob", "tag-64", "digest-64")
_REPOSITORY, _TAG = "library/alpine", "latest"
_WARM = 5
# Times, until all is in memory that will be.
_FEWEST = 5


async def run(
    kinds: Sequence[str], times: int, around: Callable[[], AbstractContextManager[object]] = nullcontext
) -> None:
    """Have the mirror fetch an image, and ask it for parts of the image, each again and again within an `around`."""
    image = content.image(layers=3, size=16 * 1024)
    paths = {
        "tag": f"manifests/{_TAG}",
        "digest": f"manifests/{image.digest}",
        "blob": f"blobs/{image.layers[0].digest}",
    }
    async with _mirror_of(image) as address:
        for kind in kinds:
            part = paths[kind.partition("-")[0]]
            request = f"GET /v2/{_REPOSITORY}/{part} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\n"
            request += f"Accept: {content.OCI_MANIFEST}\r\n\r\n"
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(_connected(address)) for _ in range(clients_of(kind))]
                for _ in range(_WARM):
                    await _ask(clients, request.encode())
                with around():
                    for _ in range(requests_of(kind, times) // len(clients)):
                        await _ask(clients, request.encode())


def clients_of(kind: str) -> int:
    """Return how many clients ask at once."""
    return int(kind.partition("-")[2] or 1)


def requests_of(kind: str, times: int) -> int:
    """Return how many requests there are where there are to be so many: some of each client."""
    clients = clients_of(kind)
    return max(times // clients, _FEWEST) * clients


@asynccontextmanager
async def _mirror_of(image: content.FakeImage) -> AsyncIterator[str]:
    """Run a mirror of a registry that has this image, and return its address."""
    journal = Journal()
    with tempfile.TemporaryDirectory(prefix="mirror-hot-path-") as folder, _logging(Path(folder)) as logs:
        async with FakeRegistry(journal) as registry, FakeTokenService(journal) as tokens:
            registry.add_image(_REPOSITORY, _TAG, image)
            mirror = Mirror(Config(**configuration(registry, tokens, Path(folder))), logs=logs)
            async with mirror.running():
                yield mirror.public.address


@contextmanager
def _logging(folder: Path) -> Iterator[Logs]:
    with (folder / "log").open("w") as log:
        yield Logs(set_up("info", "text", log))


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[socket.socket]:
    where = urlsplit(f"//{address}")
    with socket.socket() as connection:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (where.hostname, where.port))
        yield connection


async def _ask(clients: Sequence[socket.socket], request: bytes) -> None:
    if len(clients) == 1:
        await answered(clients[0], request)
    else:
        await all_answered(clients, request)


async def all_answered(clients: Sequence[socket.socket], request: bytes) -> None:
    """Ask, all at once, for what an answer of one piece has; the loop is left alone as far as that is possible."""
    for client in clients:
        client.send(request)
    for client in clients:
        answer = b""
        while not answer:
            try:
                answer = client.recv(65536)
            except BlockingIOError:
                await asyncio.sleep(0)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise UnexpectedAnswer(answer.decode("latin-1").partition("\r\n")[0])


async def answered(connection: socket.socket, request: bytes) -> None:
    """Ask, and read the answer to its end."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, request)
    head, body = b"", b""
    while not head.endswith(b"\r\n\r\n"):
        head, end, body = (head + await loop.sock_recv(connection, 65536)).partition(b"\r\n\r\n")
        head += end
    if not head.startswith(b"HTTP/1.1 200 "):
        raise UnexpectedAnswer(head.decode("latin-1").partition("\r\n")[0])
    left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]) - len(body)
    while left:
        left -= len(await loop.sock_recv(connection, left))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_path", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("times", type=int)
    options = parser.parse_args()
    uvloop.run(run([options.kind], options.times))


if __name__ == "__main__":
    main()
