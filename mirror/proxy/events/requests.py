"""Requests of clients: how they ended, and those that went in a circle."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.proxy.cache_status import Kind, Outcome

CUT = "cut: the client went away, or the mirror is stopping"
"""The cause where an answer was given up."""


@dataclass(slots=True)
class RequestFinished:
    """A client's request was answered, to its end or to where it was cut; filled in as the request goes."""

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


@dataclass(frozen=True, slots=True)
class LoopRefused:
    """A request for something of `upstream` was refused: it had come through this mirror before."""

    upstream: str
    client: str
