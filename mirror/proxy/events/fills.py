"""Blobs on their way into the cache, and bytes that are not what they were to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mirror.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class FillStarted:
    """A blob began to be fetched."""

    upstream: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class FillResumed:
    """A fill goes back to its upstream after `size` bytes, because of `error`."""

    upstream: str
    digest: Digest
    size: int
    error: Exception


@dataclass(frozen=True, slots=True)
class FillFinished:
    """A fill ended after `size` bytes: committed, dropped, or with `error`.

    `unkept` is why it was dropped: `too_large`, `no_room`, or `disk` for one that would not take it.
    """

    upstream: str
    digest: Digest
    size: int
    committed: bool
    error: Exception | None = None
    unkept: str | None = None


class Ahead(StrEnum):
    """What came of a blob that could be read ahead; a closed set, because it labels metrics."""

    CLAIMED = "claimed"
    """It was begun, and a client came for it."""
    EARLY = "early"
    """It was here, or had failed, before a client came for it."""
    LET_GO = "let_go"
    """It was begun, and nobody came."""
    SPARED = "spared"
    """It was not begun: all there is to do it with is for blobs that clients wait for."""


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """What came of a blob that could be read ahead."""

    upstream: str
    digest: Digest
    outcome: Ahead


class Parts(StrEnum):
    """What happened with large blobs that could be fetched in parts; a closed set, because it labels metrics."""

    BEGUN = "begun"
    """A part was begun beside those that were on their way, by a connection of its own."""
    REFUSED = "refused"
    """The upstream wanted none, gave another than it was asked for, or gave wrong bytes: it is left alone with them."""


@dataclass(frozen=True, slots=True)
class InParts:
    """Something happened with a blob of this upstream that could be fetched in parts."""

    upstream: str
    outcome: Parts


@dataclass(frozen=True, slots=True)
class DigestMismatched:
    """An upstream delivered bytes that are not what their digest says."""

    upstream: str
    digest: Digest
