"""A request as a fake received it."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """Method, target exactly as sent, headers in order, body."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    @property
    def raw_path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def parameters(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query, keep_blank_values=True)

    def parameter(self, name: str) -> str | None:
        return next((value for key, value in self.parameters if key == name), None)

    def header(self, name: str) -> str | None:
        """The value of a header; of a repeated one, all values joined by commas."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None


def parse_request(head: bytes) -> Request:
    """Read a request line and headers; a malformed one raises ValueError."""
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, version = line.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not HTTP/1: {line!r}")
    pairs = (one.partition(":") for one in fields if one)
    return Request(method, target, tuple((name, value.strip()) for name, _, value in pairs))
