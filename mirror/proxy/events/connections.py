"""Connections of clients: how many there are, and which never became a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionsCounted:
    """A client's connection came or went: so many are `open` now, of at most `limit`."""

    open: int
    limit: int


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """A client's connection was closed before a request came of it.

    The reason is `full`, `slow_head`, `malformed`, or `tls` for a client that tries https where there is none.
    """

    reason: str
    client: str


@dataclass(frozen=True, slots=True)
class AcceptFailed:
    """The system gave no file handle for a connection that is waiting; it is tried again."""

    error: OSError
