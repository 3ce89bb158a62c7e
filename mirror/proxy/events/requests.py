"""Requests of clients: how they ended, and those that went in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mirror.proxy.cache_status import Kind, Outcome

CUT = "cut: the client went away, or the mirror is stopping"
"""The cause where an answer was given up."""


@dataclass(slots=True, eq=False)
class RequestFinished:
    """A client's request was answered, to its end or to where it was cut; filled in as the request goes.

    No two are the same, whatever they say.
    """

    method: str
    path: str
    client: str
    kind: Kind = Kind.OTHER
    upstream: str = "none"
    outcome: Outcome = Outcome.ERROR
    status: int = 0
    source: str = "cache"
    """Where the body came from: `cache`, or `upstream` while it was being filled."""
    sent: int = 0
    """Body bytes handed to the client's socket."""
    seconds: float = 0.0
    cause: str | None = None
    """Why it went wrong, for the operator; None when nothing did."""
    detail: str | None = None
    """What `Cache-Status` has to say beside the outcome: why it is stale, or which error it is."""
    user_agent: str = ""


Given = tuple[RequestFinished, str, int, int]
"""What was told of an answer the first time; to which client it was given again, when, in microseconds since the epoch,
and how many microseconds that took."""


@dataclass(frozen=True, slots=True)
class RequestsRepeated:
    """Requests came again and were given the same answers, in this order: many at once, as they come in bursts."""

    given: Sequence[Given]

    def each(self) -> Iterator[RequestFinished]:
        """Yield what would have been told of each by itself."""
        for note, client, _, microseconds in self.given:
            yield replace(note, client=client, seconds=microseconds / 1_000_000)


@dataclass(frozen=True, slots=True)
class LoopRefused:
    """A request for something of `upstream` was refused: it had come through this mirror before."""

    upstream: str
    client: str
