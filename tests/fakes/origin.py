"""One HTTP origin on loopback: its port, its life, its journal, its faults. Registry, CDN and tokens are origins."""

import asyncio
import socket
import ssl
from dataclasses import replace
from types import TracebackType
from typing import Self

from tests.fakes.answer import Answer, error
from tests.fakes.journal import Journal
from tests.fakes.request import Request
from tests.fakes.script import Fault, Script
from tests.fakes.sending import send
from tests.fakes.wire import Connection


class Origin:
    """A server that journals each request, asks `reply` for the healthy answer, and spoils it as scripted."""

    def __init__(self, name: str, journal: Journal | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.journal = journal if journal is not None else Journal()
        self.script = Script()
        self.known_as: str | None = None
        self._tls = tls
        self._answering = asyncio.Event()
        self._answering.set()
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self.accepted = 0
        self._port_holder = _bound_socket(0)
        self.port: int = self._port_holder.getsockname()[1]

    @property
    def host(self) -> str:
        """Host and port as addresses name it: `known_as`, a name that the test has resolved, or where it listens."""
        return self.known_as or f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    @property
    def connections(self) -> int:
        """How many are open; `accepted` counts all there were."""
        return len(self._connections)

    # Faults

    def fault(self, path: str, *faults: Fault, method: str | None = None) -> None:
        """Spoil the next answers for this path (a pattern), one fault an answer, in this order."""
        self.script.once(path, faults, method)

    def always(self, path: str, *faults: Fault, method: str | None = None) -> None:
        """Spoil every answer for this path, all these faults together, until `heal`."""
        self.script.always(path, faults, method)

    def heal(self, path: str | None = None) -> None:
        self.script.heal(path)

    def hang(self) -> None:
        """Accept connections and requests, answer none until `resume`."""
        self._answering.clear()

    def resume(self) -> None:
        self._answering.set()

    # Life

    async def start(self) -> None:
        """Listen (again): always on the same port."""
        loop = asyncio.get_running_loop()
        listener = _bound_socket(self.port)
        self._server = await loop.create_server(self._connection, sock=listener, ssl=self._tls, backlog=2048)

    async def stop(self) -> None:
        """Reset all connections and refuse new ones; the port stays ours."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = [connection.task for connection in self._connections if connection.task]
        for connection in self._connections:
            connection.abort()
        self._connections.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.stop()
        self._port_holder.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Requests

    def reply(self, request: Request) -> Answer:
        """The healthy answer; what an origin knows nothing of is `unknown`."""
        raise NotImplementedError

    def unknown(self, code: str = "NOT_FOUND", status: int = 404) -> Answer:
        """The answer to what no test has prepared; it fails the test unless a fault replaces it."""
        return replace(error(status, code, "unknown to this fake"), unprepared=True)

    def spoilable(self, request: Request, answer: Answer) -> bool:
        """Whether this answer may use up a fault (a challenge on the way to it may not)."""
        return True

    async def _serve(self, request: Request, connection: Connection) -> None:
        entry = self.journal.note(self.name, request)
        await self._answering.wait()
        answer = self._answer(request)
        await send(answer, request, connection, entry)

    def _answer(self, request: Request) -> Answer:
        try:
            answer = self.reply(request)
            if self.spoilable(request, answer):
                answer = self.script.apply(request, answer)
        except Exception as failure:  # a bug of the fake or of a test's fault: show it where the test ends
            self.journal.object(self.name, request, f"the fake failed: {failure!r}")
            return error(500, "UNKNOWN", repr(failure))
        if answer.unprepared:
            self.journal.object(self.name, request, f"nobody prepared this, answered {answer.status}")
        return answer

    def _connection(self) -> Connection:
        return Connection(self._serve, self._opened, self._connections.discard)

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self.accepted += 1
        if self._server is None:  # accepted in the moment of stopping
            connection.abort()


def _bound_socket(port: int) -> socket.socket:
    # With SO_REUSEPORT an idle socket keeps the port ours while the listening one is closed.
    # Told that it is TCP, asyncio switches Nagle off: else an answer in two pieces waits 40 ms for an acknowledgement.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
