"""A reverse proxy on loopback: passes plain HTTP/1.1 on byte by byte, and knows where each body begins and ends."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Self, cast
from urllib.parse import urlsplit

LAYER = 2 * 2**20  # bytes from which a blob is a layer with a middle; all of busybox is less
PIECE = 2**16  # bytes passed on at a time
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
WHOLE = re.compile(rb"\r\ncontent-range: *bytes [^/\r]*/(\d+)\r\n", re.IGNORECASE)
BODILESS = (b"204", b"304")


@dataclass(frozen=True, slots=True)
class Body:
    """The body of one answer, still unread."""

    path: str
    length: int
    whole: int
    """How long the blob is of which this may be a part."""
    source: BufferedReader

    @property
    def is_layer(self) -> bool:
        """Whether this is a large layer, or what is left of one."""
        return "/blobs/" in self.path and self.length >= LAYER

    @property
    def digest(self) -> str:
        """The name of the blob that was asked for."""
        return urlsplit(self.path).path.rsplit("/", 1)[1]

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes; raises ConnectionError where the source ends before."""
        while size:
            piece = self.source.read(min(PIECE, size))
            if not piece:
                raise ConnectionAbortedError(f"{self.path} ends {size} bytes too early")
            size -= len(piece)
            yield piece


class Relay(ThreadingTCPServer):
    """Listens on a port of 127.0.0.1 and asks `origin`; a body has to have a declared length."""

    daemon_threads = True  # connections that idle at the end of a test are closed by their peers

    def __init__(self, origin: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.origin = ("127.0.0.1", cast(int, urlsplit(origin).port))
        self._accepting = Thread(target=self.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """What clients are configured with."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, request: bytes, answer: bytes) -> None:
        """Called with the heads of a request and of its answer, before the client has any of that."""

    def pass_on(self, body: Body, client: socket.socket) -> None:
        """Sends a whole body to the client; ConnectionError ends the client's connection."""
        send(body.pieces(body.length), client)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Only closes: whether that is a clean end or a reset is decided where the connection is cut."""
        self.close_request(request)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._accepting.join()
        self.server_close()


class _Connection(StreamRequestHandler):
    disable_nagle_algorithm = True
    server: Relay
    connection: socket.socket
    rfile: BufferedReader

    def handle(self) -> None:
        with (
            suppress(ConnectionError),
            socket.create_connection(self.server.origin) as origin,
            origin.makefile("rb") as answers,
        ):
            # Some clients try TLS first, and wait long for an answer to that.
            while self.rfile.peek(1)[:1].isalpha():
                request = _head(self.rfile)
                origin.sendall(request)
                self._pass_answer(request, answers)

    def _pass_answer(self, request: bytes, answers: BufferedReader) -> None:
        method, path, _ = request.split(maxsplit=2)
        answer = _head(answers)
        self.server.note(request, answer)
        self.connection.sendall(answer)
        declared = LENGTH.search(answer)
        if declared and method != b"HEAD" and answer.split()[1] not in BODILESS:
            length = int(declared[1])
            whole = WHOLE.search(answer)
            body = Body(path.decode(), length, int(whole[1]) if whole else length, answers)
            self.server.pass_on(body, self.connection)


def send(pieces: Iterator[bytes], client: socket.socket) -> None:
    """Sends bytes as they come."""
    for piece in pieces:
        client.sendall(piece)


def _head(stream: BufferedReader) -> bytes:
    """A request or an answer up to its empty line; raises ConnectionError where the peer has closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            raise ConnectionAbortedError("closed between two messages, or in one")
        head += line
    return head
