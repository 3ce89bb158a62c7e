"""What a fake answers: status, headers, body, and how the bytes are to leave. A value; faults change it."""

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tests.fakes.gate import Gate

JSON = "application/json; charset=utf-8"


class Framing(StrEnum):
    """How the end of the body is told."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Ending(StrEnum):
    """What becomes of the connection after the last byte."""

    KEEP = "keep"
    FIN = "fin"
    RST = "rst"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer leaves: when, how far, at what pace (`rate` in bytes per second), and what happens then.

    `pause` is made after each piece; with `drip_from`, only from that byte on, and after each byte.
    """

    delay: float = 0.0
    hold: Gate | None = None
    stops: tuple[tuple[int, Gate], ...] = ()
    end_at: int | None = None
    ending: Ending = Ending.KEEP
    framing: Framing = Framing.LENGTH
    declared: int | None = None
    piece: int = 64 * 1024
    pause: float = 0.0
    drip_from: int | None = None
    rate: float | None = None
    endless: bool = False
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `headers` may repeat a name; Content-Length is added by the sender.

    `unprepared`: no test made ready for this request, and no fault has put another answer in its place.
    `whole`: the 200 that was cut down to what a Range asked for, None where this is not such a part.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delivery: Delivery = field(default_factory=Delivery)
    unprepared: bool = False
    whole: "Answer | None" = None

    def with_header(self, name: str, value: str | None) -> "Answer":
        """Set a header; None removes it."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def deliver(self, **changes: Any) -> "Answer":
        """The same answer, leaving in another way (the fields of `Delivery`)."""
        return replace(self, delivery=replace(self.delivery, **changes))


def error(status: int, code: str, message: str, *headers: tuple[str, str]) -> Answer:
    """An error in the form of the distribution specification."""
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
    return Answer(status, (("Content-Type", JSON), *headers), body)
