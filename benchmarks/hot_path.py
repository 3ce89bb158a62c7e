"""`python -m benchmarks.hot_path KIND N`: one client asks a mirror N times for what it has, while somebody counts.

The whole path is there, in one process and without a clock: sockets, HTTP, the decision, the log line.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.clients.connection import UnexpectedAnswer
from mirror.app import Mirror
from mirror.config import Config
from mirror.telemetry.logs import Logs, set_up
from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.command import configuration

KINDS = ("tag", "digest", "blob")
_REPOSITORY, _TAG = "library/alpine", "latest"
_WARM = 5
# Times, until all is in memory that will be.


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
    async with _mirror_of(image) as address, _connected(address) as connection:
        for kind in kinds:
            request = f"GET /v2/{_REPOSITORY}/{paths[kind]} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\n"
            request += f"Accept: {content.OCI_MANIFEST}\r\n\r\n"
            for _ in range(_WARM):
                await answered(connection, request.encode())
            with around():
                for _ in range(times):
                    await answered(connection, request.encode())


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
    asyncio.run(run([options.kind], options.times))


if __name__ == "__main__":
    main()
